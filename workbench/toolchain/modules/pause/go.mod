module vllm-eval/tools/pause

go 1.26.0

toolchain go1.27.3
