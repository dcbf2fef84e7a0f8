#!/bin/sh
# The pipeline of ../src/lib.rs, written by hand: huggingface_hub, docker build, docker run and docker push.
#
#   HF_TOKEN=… REGISTRY_USER=ann REGISTRY_PASSWORD=… ./deploy.sh registry.example/search/minilm:1.0.0 ../app
#
# It needs Python with huggingface_hub, and a docker that builds with BuildKit. It does what can be done to do nothing twice: files of
# the model that are there are only asked about, and all that is computed is computed by `docker build`, level by level at once. What
# a step reaches of the network, and who reads the secrets, is up to everyone who changes it.
set -eu

to=$1
app=$2
here=$(cd "$(dirname "$0")" && pwd)
modules=$here/../../../modules
work=${WORK:-$here/work}
repository=${REPOSITORY:-sentence-transformers/all-MiniLM-L6-v2}
threshold=${THRESHOLD:-0.85}
context=$work/context
request='{"sentences": ["The sun is shining.", "It is a bright day."]}'
export DOCKER_BUILDKIT=1

# Download.
mkdir -p "$work"
python3 - "$repository" "${REVISION:-main}" "$work/model" <<'END'
import sys

from huggingface_hub import snapshot_download

repository, revision, directory = sys.argv[1:]
wanted = ["config.json", "tokenizer.json", "*.safetensors"]
snapshot_download(repository, revision=revision, local_dir=directory, allow_patterns=wanted)
END

# Validate: a file is as long as its header says.
python3 - "$work/model" <<'END'
import json
import pathlib
import struct
import sys

for path in pathlib.Path(sys.argv[1]).glob("*.safetensors"):
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    end = max(about["data_offsets"][1] for name, about in header.items() if name != "__metadata__")
    if path.stat().st_size != 8 + length + end:
        sys.exit(f"{path} is not whole")
END

# What the image is built from.
rm -rf "$context" "$work/scores"
mkdir -p "$context/python" "$context/model"
ln "$work/model"/*.json "$work/model"/*.safetensors "$context/model"
cp "$modules/model/src/python/"*.py "$context/python"
cp -r "$here/../evaluation" "$context/evaluation"
cp -r "$app" "$context/app"
cp "$here/../minilm/minilm.py" "$context/evaluation"
cp "$here/../minilm/minilm.py" "$modules/model/src/python/wharf_weights.py" \
    "$modules/serve/src/python/wharf_server.py" "$context/app"

build() {
    docker build --quiet --file "$here/Dockerfile" ${PYTHON:+--build-arg "PYTHON=$PYTHON"} \
        ${CA_BUNDLE:+--secret "id=ca,src=$CA_BUNDLE"} "$@" "$context"
}

# Quantize and evaluate at every level, and choose the smallest that is enough.
build --target scores --output "type=local,dest=$work/scores" >/dev/null
level=$(
    python3 - "$work/scores" "$threshold" <<'END'
import json
import pathlib
import sys

directory, threshold = pathlib.Path(sys.argv[1]), float(sys.argv[2])
levels = ["int4", "int8", "fp16", "original"]
scores = {level: json.loads((directory / level).read_text().splitlines()[-1])["score"] for level in levels}
print(", ".join(f"{level} {score:.4f}" for level, score in scores.items()), file=sys.stderr)
passed = [level for level in levels if scores[level] >= threshold]
if not passed:
    sys.exit(f"no level reaches {threshold}")
print(passed[0])
END
)

# Package.
build --target image --build-arg "LEVEL=$level" --tag "$to" \
    --label "org.example.model.repository=$repository" --label "org.example.model.level=$level" >/dev/null

# Try it.
container=$(docker run --detach --network none --health-interval 200ms "$to")
trap 'docker rm --force "$container" >/dev/null' EXIT
while state=$(docker inspect --format '{{.State.Status}} {{.State.Health.Status}}' "$container"); do
    case $state in
    'running healthy') break ;;
    'running starting') sleep 0.1 ;;
    *)
        docker logs "$container"
        exit 1
        ;;
    esac
done
docker exec --interactive "$container" python3 - http://127.0.0.1:8000 "$request" \
    <"$modules/serve/src/python/smoke.py" | cut -c 1-200

# Publish.
printf %s "$REGISTRY_PASSWORD" | docker login --username "$REGISTRY_USER" --password-stdin "${to%%/*}" >/dev/null 2>&1
docker push --quiet "$to" >/dev/null
docker inspect --format '{{index .RepoDigests 0}}' "$to"
