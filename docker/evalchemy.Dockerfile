# The evaluation image. Two targets:
#   runner     the runner with the lm_eval engine; everything from package registries
#   evalchemy  (default) the runner plus Evalchemy in a virtual environment of its own, since its pins clash
#
#   docker build -t <registry>/vllm-eval-evalchemy:custom-task-v1 -f docker/evalchemy.Dockerfile .
#
# The base is pinned by digest; a mirror or another base goes in by --build-arg BASE=….
ARG BASE=docker.io/library/python:3.11-slim@sha256:9c900dea9e8fb7e16277c179b555cc72d29a352dbc33cff48ad5a0412fd5bfc7

FROM ${BASE} AS packages
# Packages before sources: a change of the evaluation code keeps this layer.
COPY eval/evalchemy/requirements.txt /src/
RUN --mount=type=cache,target=/root/.cache/pip \
    python3 -m venv /opt/venv \
 && /opt/venv/bin/pip install --quiet --require-hashes --no-deps -r /src/requirements.txt \
 && /opt/venv/bin/pip check
COPY eval/evalchemy/pyproject.toml /src/
COPY eval/evalchemy/vllm_eval /src/vllm_eval
# No build isolation: it would fetch a build backend that no hash pins.
RUN /opt/venv/bin/pip install --quiet --no-deps --no-build-isolation --no-index /src \
 && /opt/venv/bin/pip uninstall --quiet --yes pip

FROM ${BASE} AS runner
COPY --from=packages /opt/venv /opt/venv
COPY eval/evalchemy/configs /opt/vllm-eval/configs
COPY eval/evalchemy/tasks /opt/vllm-eval/tasks
COPY eval/evalchemy/data /opt/vllm-eval/data
# The root filesystem is read-only in the pod: every cache goes to /tmp, and nothing is looked up on a hub.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HF_HOME=/tmp/huggingface \
    HF_HUB_OFFLINE=1 \
    HF_DATASETS_OFFLINE=1
USER 65532:65532
ENTRYPOINT ["vllm-eval"]
CMD ["run"]
