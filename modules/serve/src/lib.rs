//! Images that serve a model over HTTP.

/// Images that serve a model over HTTP: dependencies, weights and application in layers of their own.
///
/// The application is a directory with `handler.py`, which has `load(directory)` and `predict(model, request)`. The image answers
/// `GET /health` and `POST /predict` on port 8000 and does not run as root.
#[wharf_sdk::module]
mod functions {
    use std::time::Duration;

    use wharf_sdk::prelude::*;

    /// Where pip keeps what it has fetched.
    const CACHE: &str = "/var/cache/pip";
    /// What every server needs.
    const SERVER: [&str; 2] = ["fastapi>=0.100,<1", "uvicorn>=0.23,<1"];
    /// Where the model is in images.
    const MODEL: &str = "/srv/model";
    /// Where the application is.
    const APP: &str = "/srv/app";
    /// Where it listens.
    const PORT: u16 = 8000;
    /// Exits with 0 where the server answers that it is well.
    const WELL: &str =
        "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=5)";
    /// How long a model may take to load before it counts against the server.
    const LOADING: Duration = Duration::from_secs(120);
    /// As whom it runs: nobody whom a usual image has.
    const USER: &str = "10001:10001";

    /// Python with the server and these packages, in one layer. It has no network.
    pub async fn dependencies(
        /// Packages, as pip takes them, such as `numpy>=2`.
        packages: Vec<String>,
        /// An image with Python and pip.
        #[default("python:3.11-slim")]
        python: Container,
    ) -> Result<Container> {
        Ok(installed(&packages, &python))
    }

    /// An image that serves a model. A new version of the application changes its last layer, which is small, and no other.
    pub async fn image(
        /// The model's directory.
        model: Directory,
        /// The application: a directory with `handler.py`.
        app: Directory,
        /// Packages that it needs, as pip takes them.
        packages: Vec<String>,
        /// What it is called.
        title: String,
        /// Its version.
        version: Option<String>,
        /// Further labels, as in `org.opencontainers.image.source=https://git.example/app`.
        labels: Vec<String>,
        /// An image with Python and pip.
        #[default("python:3.11-slim")]
        python: Container,
    ) -> Result<Container> {
        let labels = labels
            .iter()
            .map(|label| named(label))
            .collect::<Result<Vec<_>>>()?;
        if !app.exists("handler.py").await? {
            return Err(Error::NotFound(
                "the application has no handler.py, which says how the model is loaded and how it answers"
                    .to_owned(),
            ));
        }
        let server =
            Directory::new().with_new_file("wharf_server.py", include_str!("python/wharf_server.py"));
        let leave_out = CopyOptions::new().exclude([".git", ".venv", "**/__pycache__"]);
        let app = server.with_directory_opts("/", &app, &leave_out);
        let port = PORT.to_string();
        let check = HealthcheckOptions::new()
            .interval(Duration::from_secs(10))
            .timeout(Duration::from_secs(10))
            .start_period(LOADING);
        let image = installed(&packages, &python)
            .with_directory(MODEL, &model)
            .with_directory(APP, &app)
            .with_env_variable("MODEL_DIR", MODEL)
            .with_env_variable("MODEL_TITLE", &title)
            .with_env_variable("PYTHONUNBUFFERED", "1")
            .with_workdir(APP)
            .with_user(USER)
            .with_exposed_port(PORT, "tcp")
            .with_docker_healthcheck_opts(["python3", "-c", WELL], &check)
            .without_entrypoint()
            .with_default_args([
                "python3",
                "-m",
                "uvicorn",
                "wharf_server:app",
                "--host",
                "0.0.0.0",
                "--port",
                &port,
            ])
            .with_label("org.opencontainers.image.title", &title);
        let image = match &version {
            Some(version) => image.with_label("org.opencontainers.image.version", version),
            None => image,
        };
        Ok(labels
            .iter()
            .fold(image, |image, (name, value)| image.with_label(name, value)))
    }

    /// Starts such an image, asks it whether it is well and then this, and returns what it answers.
    pub async fn smoke(
        /// The image.
        image: Container,
        /// What it is asked, as JSON.
        request: String,
    ) -> Result<String> {
        answer(&image, &request).await
    }

    /// Publishes such an image once it has answered a request, and returns its reference with its digest.
    pub async fn release(
        /// The image.
        image: Container,
        /// What it is asked first, as JSON.
        request: String,
        /// Where to, with a tag.
        to: String,
        /// Further tags.
        tags: Vec<String>,
        /// Who the registry is told that we are; what the caller is logged in as otherwise.
        user: Option<String>,
        /// The password of that user, or a token in its place.
        password: Option<Secret>,
    ) -> Result<String> {
        let options = tags
            .iter()
            .fold(PublishOptions::new(), |options, tag| options.tag(tag));
        let options = match (user, password) {
            (Some(user), Some(password)) => options.login(user, &password),
            (None, None) => options,
            _ => return Err(Error::Invalid("--user and --password go together".to_owned())),
        };
        let answer = answer(&image, &request).await?;
        log::info(format!(
            "it answers: {}",
            answer.chars().take(200).collect::<String>()
        ));
        image.publish_opts(to, &options).await
    }

    /// What a server of this image answers.
    async fn answer(image: &Container, request: &str) -> Result<String> {
        let request: serde_json::Value = serde_json::from_str(request)
            .map_err(|error| Error::Invalid(format!("the request {request:?} is no JSON: {error}")))?;
        let service = image.as_service();
        let script = File::new("smoke.py", include_str!("python/smoke.py"));
        let address = format!("http://model:{PORT}");
        let asked = image
            .with_service("model", &service)
            .with_mounted_file("/wharf/smoke.py", &script)
            .with_exec_opts(
                ["python3", "/wharf/smoke.py", &address, &request.to_string()],
                &ExecOptions::new().reason("ask the server"),
            );
        Ok(asked.stdout().await?.trim_end().to_owned())
    }

    /// Python with the server and these packages, which pip fetches where it has not yet.
    fn installed(packages: &[String], python: &Container) -> Container {
        let pip = ["python3", "-m", "pip", "--disable-pip-version-check", "--quiet"];
        // Compiled files have times in them: without them the layer is the same whenever it is made. Behind `--` nothing is an
        // option of pip's.
        let install = ["install", "--no-compile", "--"];
        let needed = SERVER.iter().map(|package| (*package).to_owned());
        let command = pip.iter().chain(&install).map(|word| (*word).to_owned());
        python
            .with_env_variable("PYTHONDONTWRITEBYTECODE", "1")
            .with_env_variable("PIP_ROOT_USER_ACTION", "ignore")
            .with_env_variable("PIP_CACHE_DIR", CACHE)
            .with_network(Network::All)
            .with_mounted_cache(CACHE, &CacheVolume::new("pip"))
            .with_exec_opts(
                command.chain(needed).chain(packages.iter().cloned()),
                &ExecOptions::new().reason("install what the server needs"),
            )
            .without_mount(CACHE)
            .without_env_variable("PIP_CACHE_DIR")
            .without_env_variable("PIP_ROOT_USER_ACTION")
            .with_network(Network::None)
    }

    /// Reads a label.
    fn named(text: &str) -> Result<(&str, &str)> {
        text.split_once('=')
            .filter(|(name, _)| !name.is_empty())
            .ok_or_else(|| Error::Invalid(format!("{text:?} is no label such as org.example.team=search")))
    }
}

#[cfg(test)]
mod tests;
