"""A guest in Python, made from `wit/` alone by componentize-py."""

from wit_world import exports
from wit_world.exports.tasks import Level, Report
from wit_world.imports import eval_sync, image
from wit_world.imports.container import Container, ExecOptions
from wit_world.imports.filesystem import Directory
from wit_world.imports.types import ExitExpectation


class Tasks(exports.Tasks):
    def shout(self, text: str, level: Level) -> str:
        return text.upper() if level == Level.HIGH else text

    def both(self, image_name: str) -> Report:
        options = ExecOptions()
        options.set_expect(ExitExpectation.ANY)
        base = image.pull(image_name, None)
        first = base.with_exec(["sh", "-c", "echo first"], None)
        second = base.with_exec(["sh", "-c", "echo second; exit 3"], options)
        lines = [eval_sync.stdout(first), eval_sync.stdout(second)]
        return Report(lines, eval_sync.exit_code(second))

    def put(self, source: Directory, image_name: str) -> Container:
        return image.pull(image_name, None).with_directory("/source", source, None)
