# ganpress in a container, for a server or a scheduler; the project stays outside, in a folder that is mounted:
#
#   docker build -t ganpress .
#   docker run --rm -v "$PWD/my-project:/project" ganpress run
FROM python:3.12-slim-bookworm

# git: DVC and the worktrees of recipes. libgomp1: torch's threads. What is missing of a pin is a release's own choice.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --no-install-recommends -y git libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 ganpress

WORKDIR /opt/ganpress
COPY . .
RUN pip install --no-cache-dir "uv>=0.9,<1" \
    && uv sync --locked --no-dev --no-cache

ENV PATH=/opt/ganpress/.venv/bin:$PATH
# The mounted project belongs to whoever mounts it.
RUN git config --system --add safe.directory /project
USER 1000
WORKDIR /project
ENTRYPOINT ["ganpress"]
CMD ["--help"]
