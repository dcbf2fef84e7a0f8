//! A web application with a database: both run as services, and steps test the one through the other.

/// A guestbook: a web page whose entries are kept in a database.
#[wharf_sdk::module]
mod functions {
    use wharf_sdk::prelude::*;

    /// The port on which the database takes a line and answers with what it has.
    const DATABASE: u16 = 5432;

    /// The database: a file of lines that is reached over the network. An empty line adds nothing.
    pub fn database() -> Service {
        let answer = "read -r line; test -z \"$line\" || echo \"$line\" >> /data/lines; cat /data/lines";
        let serve = format!("echo ready; exec nc -ll -p {DATABASE} -e sh /answer.sh");
        image::pull("busybox:latest")
            .with_new_file("/answer.sh", answer)
            .with_new_file("/data/lines", "")
            .with_default_args(["sh", "-c", serve.as_str()])
            .with_exposed_port(DATABASE, "tcp")
            .as_service()
    }

    /// The web application on port 8080, with a database of its own or the one that is given.
    pub fn web(
        /// A database; started beside the application when there is none.
        database: Option<Service>,
    ) -> Service {
        let database = database.unwrap_or_else(self::database);
        let page = format!(
            "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'\necho \"$QUERY_STRING\" | nc db {DATABASE}\n"
        );
        image::pull("busybox:latest")
            .with_new_file_opts("/www/cgi-bin/sign", page, Some(0o755), None)
            .with_service("db", &database)
            .with_default_args(["httpd", "-f", "-p", "8080", "-h", "/www"])
            .with_exposed_port(8080, "tcp")
            .as_service()
    }

    /// Signs the guestbook from a step, and returns the page.
    pub async fn sign(
        /// Who signs it, one after the other.
        names: Vec<String>,
    ) -> Result<String> {
        if names.is_empty() {
            return Err("who signs it? say --names".into());
        }
        let web = web(None);
        let mut visitor = image::pull("busybox:latest").with_service("guestbook", &web);
        for name in names {
            let url = format!("http://guestbook:8080/cgi-bin/sign?{name}");
            visitor = visitor.with_exec(["wget", "-q", "-O", "-", url.as_str()]);
        }
        visitor.stdout().await
    }
}
