# The image has the environment; the repository is mounted at /workspace and its code wins over the image's.
# docs/RUN.md says how to run it.
ARG BASE_IMAGE=debian:bookworm-slim

FROM ${BASE_IMAGE} AS debian
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# DATED=yes takes Debian's packages as they were on the day of the base image, whose sources have that place as a comment
ARG DATED=
ARG SOURCES=/etc/apt/sources.list.d/debian.sources
RUN if [ "$DATED" ]; then grep '^# http' "$SOURCES" \
 && sed -Ei '/^# http/ { s/^# (.*)/URIs: \1\nCheck-Valid-Until: no/; n; d }' "$SOURCES"; fi

FROM debian AS base
COPY debian-latex.txt /opt/locks/
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive xargs --arg-file=/opt/locks/debian-latex.txt \
    apt-get install --yes --no-install-recommends ca-certificates git make python3 python3-venv \
 && rm -rf /var/lib/apt/lists/* /var/cache/* /var/log/*
ENV PATH=/opt/venv/bin:$PATH \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

# what uv.lock has, as files for pip: the layers below change with what they install, whatever else changes in the lock
FROM base AS locked
WORKDIR /opt/locks
COPY Makefile pyproject.toml uv.lock /opt/locks/
RUN make .venv/bin/uv \
 && locked() { .venv/bin/uv export --frozen --quiet --no-header --no-annotate --no-emit-project "$@"; } \
 && locked --no-dev --output-file packages.txt \
 && locked --only-group sbom --output-file sbom.txt

FROM base AS environment
COPY --from=locked /opt/locks/packages.txt /opt/locks/
RUN python3 -m venv /opt/venv \
 && pip install --no-deps --require-hashes --requirement /opt/locks/packages.txt \
 && pip check

FROM environment AS bill-of-materials
COPY --from=locked /opt/locks/sbom.txt /opt/locks/
RUN python3 -m venv /opt/tools \
 && /opt/tools/bin/pip install --no-deps --require-hashes --requirement /opt/locks/sbom.txt \
 && /opt/tools/bin/cyclonedx-py environment --output-reproducible --of JSON --output-file /opt/sbom.cdx.json /opt/venv

FROM environment
# Any uid may be given with --user: its home is /tmp, and DVC wants a user's name. What must outlive a container (DVC's
# hashes of large files, what comes from the hub or a remote) is in the mounted repository.
ENV HOME=/tmp \
    USER=researcher \
    XDG_CACHE_HOME=/workspace/.cache \
    DVC_SITE_CACHE_DIR=/workspace/.dvc/tmp/site-cache \
    PYTHONPATH=/workspace/src \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTORCH_ALLOC_CONF=expandable_segments:True \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
# an archive of the image has a folder only if a layer made it, and on a read-only root nothing can be mounted elsewhere
RUN useradd --uid 1000 --create-home researcher \
 && mkdir /workspace \
 && git config --system --add safe.directory /workspace
COPY --from=bill-of-materials /opt/sbom.cdx.json /usr/share/doc/rm-tension/sbom.cdx.json
COPY pyproject.toml README.md LICENSE /opt/rm-tension/
COPY src /opt/rm-tension/src
RUN pip install --no-deps --no-build-isolation /opt/rm-tension
WORKDIR /workspace
USER 1000
ENTRYPOINT ["rm-tension", "preflight", "--"]
CMD ["bash"]
