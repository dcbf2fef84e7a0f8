# Fetches what Cargo.lock names, and unpacks it into $1. Standard input: the project's source files, a path a line.
# They are empty here: cargo only looks which there are.
while IFS= read -r path; do
    mkdir -p "$(dirname "./$path")"
    : > "./$path"
done
mkdir -p "$1/crates"
cargo vendor --locked --versioned-dirs "$1/crates" > "$1/config.toml"
