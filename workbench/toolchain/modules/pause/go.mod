module vllm-eval/tools/pause

go 1.26.0
