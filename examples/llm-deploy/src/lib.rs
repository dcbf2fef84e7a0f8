//! From a model on a hub to an image in a registry that serves it: download, validate, quantize, choose, package, try, publish.

/// Brings a sentence model from a hub into a registry, as an image that serves it.
///
/// It is served with as few bits as do: the smallest level whose vectors agree well enough with what people say of pairs of sentences.
#[wharf_sdk::module]
mod functions {
    use wharf_sdk::{module, prelude::*};

    use super::{wharf_huggingface as hub, wharf_model as model, wharf_serve as serve};

    /// What of a repository is needed.
    const FILES: [&str; 3] = ["config.json", "tokenizer.json", "*.safetensors"];
    /// What the forward pass needs.
    const PACKAGES: [&str; 2] = ["numpy>=1.26,<3", "tokenizers>=0.20,<1"];
    /// What the image is asked before it is published.
    const REQUEST: &str = r#"{"sentences": ["The sun is shining.", "It is a bright day."]}"#;

    /// Deploys a model, and returns the address of the image.
    pub async fn deploy(
        /// Where to, such as `registry.example/search/minilm:1.0.0`.
        to: String,
        /// The model's repository.
        #[default("sentence-transformers/all-MiniLM-L6-v2")]
        repository: String,
        /// A branch, a tag, or a commit of it.
        #[default("main")]
        revision: String,
        /// How well the model has to do: Spearman's correlation with what people say.
        #[default(0.85)]
        threshold: f64,
        /// Who the registry is told that we are; what the caller is logged in as otherwise.
        user: Option<String>,
        /// The registry's password, or a token in its place.
        password: Option<Secret>,
        /// The hub's token, for a model that is not for everybody.
        token: Option<Secret>,
        /// Where the hub is.
        #[default("https://huggingface.co")]
        endpoint: String,
        /// The application.
        #[default_path("app")]
        app: Directory,
        /// What computes on a GPU, as pip takes it; installed where the engine has one that is free.
        #[default("cupy-cuda12x>=13,<14")]
        cupy: String,
        /// An image with Python.
        #[default("python:3.11-slim")]
        python: Container,
    ) -> Result<String> {
        // Download. What came before is there, whatever ended that run.
        let wanted = FILES.map(str::to_owned).to_vec();
        let original =
            hub::snapshot(repository.clone(), revision, wanted, Vec::new(), token, endpoint).await?;

        // Validate: every header, before anything is computed.
        let about = model::describe(&original).await?;
        log::info(format!(
            "{} parameters in {} MB",
            about.parameters,
            about.bytes / 1_000_000
        ));

        // Where the levels are tried: on a GPU when one is free, here or on one of the user's other engines; on the CPU otherwise.
        let mut needed = packages();
        match free_gpu().await? {
            Some(gpu) => {
                log::info(format!("the levels are tried on a GPU: {gpu} is free"));
                needed.push(cupy);
            }
            None => log::info("the levels are tried on the CPU: no GPU is free"),
        }
        let tools = serve::dependencies(needed, &python).await?;

        // Quantize and evaluate at every level at once, and choose.
        let code = module::source_directory_opts(&CopyOptions::new().include(["minilm", "evaluation"]));
        let forward = code.directory("minilm");
        let evaluation = code.directory("evaluation").with_directory("/", &forward);
        let pairs = code.file("evaluation/pairs.tsv");
        let best = model::smallest(&original, &evaluation, &pairs, threshold, Vec::new(), &tools).await?;
        log::info(format!(
            "{:?}: {:.1} MB, {:.4}",
            best.level,
            best.bytes as f64 / 1e6,
            best.score
        ));

        // Package: dependencies, weights and application in a layer each.
        let loader = model::loader().await?;
        let app = app.with_directory("/", &forward).with_file("/", &loader);
        let labels = vec![
            format!("org.example.model.repository={repository}"),
            format!("org.example.model.level={:?}", best.level),
            format!("org.example.model.score={:.4}", best.score),
        ];
        let title = repository.rsplit('/').next().unwrap_or_default().to_owned();
        let image = serve::image(&best.model, &app, packages(), title, None, labels, &python).await?;

        // Publish what answers.
        serve::release(&image, REQUEST.to_owned(), to, Vec::new(), user, password).await
    }

    /// A GPU that nobody has: of this engine, or else of a target, where `wharf:model` sends what it tries.
    async fn free_gpu() -> Result<Option<String>> {
        let free = |devices: Vec<gpu::Device>| {
            let mut devices = devices.into_iter();
            devices.find(|device| device.is_free && device.is_usable)
        };
        if let Some(device) = free(gpu::devices().await?) {
            return Ok(Some(device.name));
        }
        let targets = gpu::targets().await?.into_iter();
        let mut free = targets.filter_map(|target| Some((target.name, free(target.devices)?.name)));
        Ok(free.next().map(|(target, device)| format!("{device} of {target}")))
    }

    fn packages() -> Vec<String> {
        PACKAGES.map(str::to_owned).to_vec()
    }
}
