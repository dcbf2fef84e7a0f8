//! Steps on a terminal.

use std::{
    fs::File,
    io::{Read, Write},
};

use rustix::termios::{Winsize, tcsetwinsize};
use tokio::sync::oneshot;
use wharf_runner::{Console, Exit, TerminalSize};

use crate::{
    with_both,
    world::{Outcome, Wanted, World, run},
};

with_both!(
    a_shell_on_a_terminal_is_spoken_to_as_a_person_would,
    the_terminal_belongs_to_the_steps_user,
    a_program_that_is_missing_opens_no_terminal_that_stays,
);

/// What reading a terminal gives once nobody has its other end open.
const EIO: i32 = 5;

/// The other end of a step's terminal.
struct Person {
    terminal: File,
    seen: String,
}

impl Person {
    /// Reads until the text is shown, and forgets what came before its end.
    fn sees(&mut self, text: &str) {
        let mut buffer = [0; 1024];
        loop {
            if let Some(at) = self.seen.find(text) {
                self.seen.drain(..at + text.len());
                return;
            }
            let count = self.terminal.read(&mut buffer).unwrap_or_default();
            assert!(count > 0, "it ended without {text:?}: {}", self.seen);
            self.seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
    }

    fn types(&mut self, keys: &str) {
        self.terminal.write_all(keys.as_bytes()).unwrap();
    }

    /// Stays until the step has left the terminal: one who goes before hangs up, which ends what is on it.
    fn stays(mut self) {
        let left = self.terminal.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(left.raw_os_error(), Some(EIO), "{left}");
    }
}

/// Runs a step on a terminal, and a person beside it.
async fn with_person(world: &World, wanted: Wanted, person: impl FnOnce(Person) + Send + 'static) -> Outcome {
    let (opened, open) = oneshot::channel();
    let size = TerminalSize {
        rows: 33,
        columns: 111,
    };
    let run = async |step, _, cancel| {
        let console = Console { size, opened };
        world.runner.run_on_terminal(None, step, console, cancel).await
    };
    let talk = async {
        if let Ok(terminal) = open.await {
            let person = move || {
                person(Person {
                    terminal: File::from(terminal),
                    seen: String::new(),
                });
            };
            tokio::task::spawn_blocking(person).await.unwrap();
        }
    };
    let (outcome, ()) = tokio::join!(world.try_run_by(wanted, run), talk);
    outcome.unwrap()
}

async fn a_shell_on_a_terminal_is_spoken_to_as_a_person_would(world: World) {
    let outcome = with_person(&world, run(&["sh"]), |mut person| {
        person.types("stty size\n");
        person.sees("33 111");
        let size = Winsize {
            ws_row: 50,
            ws_col: 90,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&person.terminal, size).unwrap();
        person.types("stty size\n");
        person.sees("50 90");
        person.types("test -t 0 && test -t 1 && test -t 2 && test -c /dev/console && echo all'' three\n");
        person.sees("all three");
        // It is in the foreground before it says anything.
        person.types("echo content > /file; sh -c \"echo asl''eep; exec sleep 1000\"\n");
        person.sees("asleep\r\n");
        person.types("\x03");
        person.sees("# ");
        person.types("echo code:$?\n");
        person.sees("code:130");
        person.types("exit 7\n");
        person.stays();
    })
    .await;
    assert_eq!(outcome.step.exit, Exit::Code(7), "{outcome:?}");
    let changed = crate::world::tree(&outcome.upper);
    assert_eq!(changed, ["f file"], "the step's own files alone");
}

async fn the_terminal_belongs_to_the_steps_user(world: World) {
    let mut step = run(&["sh", "-c", "stat -c %u $(tty); id -u; echo again > /dev/tty"]);
    step.process.user = world.user("nobody");
    let uid = step.process.user.uid;
    let outcome = with_person(&world, step, move |mut person| {
        person.sees(&format!("{uid}\r\n{uid}\r\n"));
        person.sees("again");
        person.stays();
    })
    .await;
    assert_eq!(outcome.step.exit, Exit::Code(0), "{outcome:?}");
}

async fn a_program_that_is_missing_opens_no_terminal_that_stays(world: World) {
    let outcome = with_person(&world, run(&["no-such-shell"]), Person::stays).await;
    assert_eq!(outcome.step.exit, Exit::NotFound, "{outcome:?}");
}
