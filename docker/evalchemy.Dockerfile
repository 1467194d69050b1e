# The evaluation image. Two targets:
#   runner     the runner with the lm_eval engine; everything from package registries
#   evalchemy  (default) the runner plus Evalchemy in a virtual environment of its own, since its pins clash
#
#   docker build -t <registry>/vllm-eval-evalchemy:custom-task-v1 -f docker/evalchemy.Dockerfile .
#
# The base is pinned by digest; a mirror or another base goes in by --build-arg BASE=….
# The sources of Evalchemy and of its lm_eval are pinned by commit; where GitHub cannot be reached, copies of those
# commits go in by --build-context evalchemy-source=… and --build-context lm-eval-source=….
ARG BASE=docker.io/library/python:3.11-slim@sha256:9c900dea9e8fb7e16277c179b555cc72d29a352dbc33cff48ad5a0412fd5bfc7
ARG EVALCHEMY_COMMIT=6ed674159b37f740f2353a86f596f49f6ac13c19
ARG LM_EVAL_COMMIT=4071e1823bc1d05d1b394e03925b436a46de637e

FROM ${BASE} AS packages
COPY eval/evalchemy/requirements.txt /src/
RUN --mount=type=cache,target=/root/.cache/pip \
    python3 -m venv /opt/venv \
 && /opt/venv/bin/pip install --quiet --require-hashes --no-deps -r /src/requirements.txt \
 && /opt/venv/bin/pip check \
 && /opt/venv/bin/pip uninstall --quiet --yes pip

# nltk would download this in the first evaluation that counts sentences.
FROM ${BASE} AS nltk-data
COPY docker/nltk-data.txt /src/
RUN python3 -m venv /pip \
 && /pip/bin/pip download --quiet --require-hashes --no-deps --only-binary :all: --dest /wheel -r /src/nltk-data.txt \
 && python3 -m zipfile -e /wheel/*.whl /unpacked \
 && mkdir -p /nltk_data/tokenizers \
 && mv /unpacked/llama_index/core/_static/nltk_cache/tokenizers/punkt_tab /nltk_data/tokenizers/

# The code is a layer of its own: a push of evaluation code moves kilobytes, not the packages again.
FROM packages AS code
COPY eval/evalchemy/pyproject.toml /src/
COPY eval/evalchemy/vllm_eval /src/vllm_eval
# No build isolation: it would fetch a build backend that no hash pins.
RUN python3 -m venv /pip \
 && /pip/bin/pip --python /opt/venv/bin/python install --quiet --no-deps --no-build-isolation --no-index \
      --target /opt/vllm-eval/lib /src

FROM ${BASE} AS runner
COPY --from=packages /opt/venv /opt/venv
COPY --from=nltk-data /nltk_data /opt/vllm-eval/nltk_data
COPY --from=code /opt/vllm-eval/lib /opt/vllm-eval/lib
COPY eval/evalchemy/configs /opt/vllm-eval/configs
COPY eval/evalchemy/tasks /opt/vllm-eval/tasks
COPY eval/evalchemy/data /opt/vllm-eval/data
# The root filesystem is read-only in the pod: every cache goes to /tmp, and nothing is looked up on a hub.
ENV PATH=/opt/vllm-eval/lib/bin:/opt/venv/bin:$PATH \
    PYTHONPATH=/opt/vllm-eval/lib \
    PYTHONUNBUFFERED=1 \
    NLTK_DATA=/opt/vllm-eval/nltk_data \
    HF_HOME=/tmp/huggingface \
    HF_HUB_OFFLINE=1 \
    HF_DATASETS_OFFLINE=1
USER 65532:65532
ENTRYPOINT ["vllm-eval"]
CMD ["run"]

FROM scratch AS evalchemy-source
ARG EVALCHEMY_COMMIT
ADD https://github.com/mlfoundations/evalchemy.git#${EVALCHEMY_COMMIT} /

# Evalchemy's benchmarks need this branch of lm_eval, which no package registry has.
FROM scratch AS lm-eval-source
ARG LM_EVAL_COMMIT
ADD https://github.com/EtashGuha/lm-evaluation-harness.git#${LM_EVAL_COMMIT} /

FROM ${BASE} AS evalchemy-packages
COPY docker/evalchemy-requirements.txt /src/
RUN --mount=type=cache,target=/root/.cache/pip \
    python3 -m venv /opt/evalchemy/venv \
 && /opt/evalchemy/venv/bin/pip install --quiet --require-hashes --no-deps -r /src/evalchemy-requirements.txt
COPY --from=lm-eval-source / /src/lm_eval
RUN /opt/evalchemy/venv/bin/pip install --quiet --no-deps --no-build-isolation --no-index /src/lm_eval \
 && /opt/evalchemy/venv/bin/pip uninstall --quiet --yes pip

FROM runner AS evalchemy
ARG EVALCHEMY_COMMIT
COPY --from=evalchemy-packages /opt/evalchemy/venv /opt/evalchemy/venv
COPY --from=evalchemy-source /database /opt/evalchemy/checkout/database
COPY --from=evalchemy-source /eval /opt/evalchemy/checkout/eval
COPY <<EOF /opt/evalchemy/commit
${EVALCHEMY_COMMIT}
EOF
# Its list of requirements is ours: a module that is missing from it fails here and not in the first evaluation.
RUN cd /opt/evalchemy/checkout \
 && HOME=/tmp OPENAI_API_KEY=none PYTHONDONTWRITEBYTECODE=1 /opt/evalchemy/venv/bin/python -m eval.eval --help >/dev/null
