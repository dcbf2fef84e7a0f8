# Builds for release, and puts programs and libraries into /out: cargo says which they are, as the target directory may hold others.
cargo build --locked --offline --release --message-format json-render-diagnostics "$@" > /messages
mkdir -p /out
sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' /messages | while IFS= read -r program; do
    cp "$program" /out/
done
sed -n 's/.*"filenames":\[\([^]]*\)\].*/\1/p' /messages | tr ',' '\n' | tr -d '"' | while IFS= read -r library; do
    case $library in
        */deps/* | */build/*) ;;
        *.so | *.a | *.wasm) cp "$library" /out/ ;;
    esac
done
