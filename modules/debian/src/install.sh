# Installs mmdebstrap from the caller's mirror, where the image has none.
# $1: the mirror, $2: the suite.
set -eu
if command -v mmdebstrap >/dev/null; then exit; fi
. /etc/os-release
rm -rf /etc/apt/sources.list.d/*
echo "deb $1 ${VERSION_CODENAME:-$2} main" > /etc/apt/sources.list
apt-get --quiet --option APT::Update::Error-Mode=any update
DEBIAN_FRONTEND=noninteractive apt-get --quiet --yes --no-install-recommends install mmdebstrap
