"""The table of settings in Korean: the English sentence of `components/settings/model.py` and its kin is the key."""

from collections.abc import Mapping
from typing import Final

HEAD: Final = """\
# 스택 설정

`components/settings/model.py`에서 `make generate`가 만든 문서입니다. English: [../settings.md](../settings.md). 스택
파일에는 기본값과 다른 것만 적습니다. 무엇을 어떻게 설정하는지는 [operations.md](../operations.md)(영어)에 있습니다.
"""

KOREAN: Final[Mapping[str, str]] = {
    # the table itself
    "key": "키",
    "default": "기본값",
    "meaning": "의미",
    "required": "필수",
    "Example": "예",
    "Secrets": "시크릿",
    # groups and settings, in their order
    "Which cluster the stack lives on. There is no default: a stack never follows kubectl's current context.": (
        "스택이 있는 클러스터. 기본값은 없습니다. 스택은 kubectl의 현재 컨텍스트를 따르지 않습니다."
    ),
    "Context of the kubeconfig (KUBECONFIG or ~/.kube/config).": (
        "kubeconfig(KUBECONFIG 또는 ~/.kube/config)의 컨텍스트."
    ),
    "Use the service account of the pod that Pulumi runs in.": "Pulumi가 실행되는 파드의 서비스 계정을 사용.",
    "Address that the context must lead to; a kubeconfig whose context leads elsewhere is refused.": (
        "컨텍스트가 가리켜야 하는 주소. 다른 곳을 가리키는 kubeconfig는 거부합니다."
    ),
    "Take over objects that exist already, for one `up` after a destroy that kept the results.": (
        "이미 있는 객체를 넘겨받음. 결과를 남긴 destroy 다음의 `up` 한 번에만 사용."
    ),
    "What Argo CD reads.": "Argo CD가 읽는 저장소.",
    "Address of this repository or of its fork.": "이 저장소나 포크의 주소.",
    "Branch, tag or commit that this environment follows.": "이 환경이 따르는 브랜치, 태그 또는 커밋.",
    "User of the secret `git-password`, for a private repository.": (
        "비공개 저장소에서 시크릿 `git-password`를 쓸 사용자."
    ),
    "How Argo CD is installed.": "Argo CD를 설치하는 방법.",
    "False on a cluster that has an Argo CD (3.3 or later).": "Argo CD(3.3 이상)가 이미 있는 클러스터에서는 false.",
    "Namespace of Argo CD.": "Argo CD의 네임스페이스.",
    "Name of the Application; another one for each stack of an Argo CD.": (
        "Application의 이름. 같은 Argo CD를 쓰는 스택마다 다르게."
    ),
    "Name of its AppProject; another one for each stack.": "AppProject의 이름. 스택마다 다르게.",
    "False if others manage that AppProject.": "다른 사람이 그 AppProject를 관리하면 false.",
    "Context of the cluster where Argo CD runs, where it is a hub for several.": (
        "Argo CD가 여러 클러스터의 허브일 때, Argo CD가 있는 클러스터의 컨텍스트."
    ),
    "Address or name by which that Argo CD knows the stack's cluster.": (
        "그 Argo CD가 스택의 클러스터를 부르는 주소나 이름."
    ),
    "Chart name in `repository`, an oci:// address, or a local path (starts with / or .).": (
        "`repository`에 있는 차트 이름, oci:// 주소, 또는 로컬 경로(/ 나 . 으로 시작)."
    ),
    "Helm repository of the chart.": "차트의 Helm 저장소.",
    "Exact version of the chart; unused with a local path.": "차트의 정확한 버전. 로컬 경로에는 쓰지 않음.",
    "Values laid over the ones that the stack sets. No secrets: they are shown.": (
        "스택이 정하는 값 위에 덮어쓰는 값. 그대로 보이므로 비밀은 넣지 마십시오."
    ),
    "How long an installation may take.": "설치에 걸려도 되는 시간.",
    "How often Argo CD looks at Git (`timeout.reconciliation`).": (
        "Argo CD가 Git을 확인하는 주기(`timeout.reconciliation`)."
    ),
    "Whether the local user `admin` exists; turn it off with SSO.": (
        "로컬 사용자 `admin`이 있는지. SSO를 쓰면 끄십시오."
    ),
    "Address of Argo CD's UI for outputs and links.": "출력과 링크에 쓰는 Argo CD UI의 주소.",
    "How the models are evaluated.": "모델을 평가하는 방법.",
    "Who declares the Job: argocd, pulumi or none.": "Job을 선언하는 쪽: argocd, pulumi 또는 none.",
    "Namespace of everything but Argo CD.": "Argo CD를 뺀 나머지의 네임스페이스.",
    "Cron schedule of the nightly run (null: none).": "야간 실행의 cron 스케줄(null: 없음).",
    "Time zone of the schedule.": "스케줄의 시간대.",
    "How many models are evaluated at once.": "동시에 평가하는 모델 수.",
    "Maximum number of items of each task (null: all).": "태스크마다 물어볼 최대 항목 수(null: 전부).",
    "Maximum duration of the run of one model.": "모델 하나를 실행하는 최대 시간.",
    "How long a run waits for a model that does not answer, at the start or later.": (
        "시작할 때나 도중에 답하지 않는 모델을 기다리는 시간."
    ),
    "Maximum age of a killed run's finished answers that the next run takes over.": (
        "다음 실행이 이어받는, 강제 종료된 실행이 끝낸 답의 최대 나이."
    ),
    "Resources to reserve, in addition to the container's own.": "컨테이너의 기존 값에 더해 예약할 자원.",
    "Limits, in addition to the container's own.": "컨테이너의 기존 값에 더하는 상한.",
    "Size of the claim.": "클레임의 크기.",
    "Class of the claim; default: the cluster's.": "클레임의 스토리지 클래스. 기본값: 클러스터의 것.",
    "ReadWriteMany where pods run on several nodes.": "파드가 여러 노드에서 실행되면 ReadWriteMany.",
    "fsspec URL used instead of a claim.": "클레임 대신 쓰는 fsspec URL.",
    "Claim and namespace are protected, and outlive the stack.": (
        "클레임과 네임스페이스를 보호하고 스택이 없어져도 남김."
    ),
    "Language of the alerts' texts and of the reports: en or ko.": "알림과 리포트의 언어: en 또는 ko.",
    "Serve the reports from the results, read-only, as Service vllm-eval-report.": (
        "결과의 리포트를 Service vllm-eval-report로 읽기 전용으로 제공."
    ),
    "The runner's image; default: the one in `k8s/evalchemy-job.yaml` or `image`.": (
        "러너의 이미지. 기본값: `k8s/evalchemy-job.yaml`의 것 또는 `image`."
    ),
    "Pods that may open them, such as an ingress; `kubectl port-forward` always can.": (
        "리포트를 열 수 있는 파드(예: ingress). `kubectl port-forward`는 언제나 됩니다."
    ),
    "Their namespace.": "그 파드의 네임스페이스.",
    "Their labels (none: every pod there).": "그 파드의 레이블(없음: 그곳의 모든 파드).",
    "What pods may reach besides models, gateway and DNS.": "모델, 게이트웨이, DNS 외에 파드가 접근할 수 있는 곳.",
    "Namespace of its pods.": "대상 파드의 네임스페이스.",
    "Labels of its pods.": "대상 파드의 레이블.",
    "Addresses, outside the cluster.": "클러스터 밖의 주소.",
    "TCP port of its pods.": "대상 파드의 TCP 포트.",
    "Further labels.": "추가 레이블.",
    "Further annotations.": "추가 어노테이션.",
    "Labels of the nodes.": "노드의 레이블.",
    "Taints that are tolerated.": "허용하는 테인트.",
    "Key of the taint.": "테인트의 키.",
    "Exists or Equal.": "Exists 또는 Equal.",
    "Value of the taint.": "테인트의 값.",
    "NoSchedule, PreferNoSchedule or NoExecute.": "NoSchedule, PreferNoSchedule 또는 NoExecute.",
    "How long NoExecute is tolerated.": "NoExecute를 견디는 시간.",
    "Affinity, as in a pod.": "어피니티. 파드에 쓰는 것과 같음.",
    "Class of priority.": "우선순위 클래스.",
    "Class of the container runtime.": "컨테이너 런타임 클래스.",
    "Existing Secrets that pull the image.": "이미지를 받을 때 쓰는 기존 Secret.",
    "Its name.": "Secret의 이름.",
    "Users and groups of the pod.": "파드의 사용자와 그룹.",
    "User; null: the cluster chooses.": "사용자. null: 클러스터가 정함.",
    "Group; null: the cluster chooses.": "그룹. null: 클러스터가 정함.",
    "Group of the volumes; null: the cluster chooses.": "볼륨의 그룹. null: 클러스터가 정함.",
    "Always or OnRootMismatch.": "Always 또는 OnRootMismatch.",
    "Further groups.": "추가 그룹.",
    "SELinux labels.": "SELinux 레이블.",
    "Further variables of the container.": "컨테이너의 추가 환경 변수.",
    "Its text.": "변수의 값.",
    "Where it comes from.": "값을 가져오는 곳.",
    "Further volumes.": "추가 볼륨.",
    "Where they are mounted.": "볼륨을 마운트하는 곳.",
    "Queue of Kueue (`kueue.x-k8s.io/queue-name`) for Job and nightly.": (
        "Job과 야간 실행이 들어갈 Kueue의 큐(`kueue.x-k8s.io/queue-name`)."
    ),
    "Token in a Secret of others, in the place of the secret `huggingface-token`.": (
        "시크릿 `huggingface-token` 대신 쓰는, 다른 사람이 관리하는 Secret의 토큰."
    ),
    "Name of the Secret.": "Secret의 이름.",
    "Its key.": "Secret의 키.",
    "File of the image's `configs/` that lists the tasks, without `.json` (default: `eval_config`).": (
        "이미지의 `configs/`에서 태스크를 정하는 파일. `.json`은 뺌(기본값: `eval_config`)."
    ),
    "Where the items of lm_eval's own tasks come from (null: nowhere).": (
        "lm_eval의 태스크가 항목을 가져오는 곳(null: 없음)."
    ),
    "Fetch them from a hub, at the newest commit or the one that is set.": (
        "허브에서, 최신 커밋이나 지정한 커밋으로 가져옴."
    ),
    "Its address, or a mirror's (`HF_ENDPOINT`).": "허브나 미러의 주소(`HF_ENDPOINT`).",
    "How it is reached; the hub's files are at many addresses.": (
        "허브에 접근하는 경로. 허브의 파일은 여러 주소에 있습니다."
    ),
    "CA bundle of a mirror, in a Secret of others.": "다른 사람이 관리하는 Secret에 있는 미러의 CA 번들.",
    "Read them from a bundle, without a hub.": "허브 없이 번들에서 읽음.",
    "Claim in the namespace that holds it.": "번들이 있는, 같은 네임스페이스의 클레임.",
    "Image that is mounted as a volume (Kubernetes 1.35, or its feature gate ImageVolume).": (
        "볼륨으로 마운트하는 이미지(Kubernetes 1.35, 또는 feature gate ImageVolume)."
    ),
    "fsspec or oci:// address that the runner reads.": "러너가 읽는 fsspec 또는 oci:// 주소.",
    "How `url` is reached.": "`url`에 접근하는 경로.",
    "Claim in the namespace that keeps what the hub gave.": (
        "허브에서 받은 것을 보관하는, 같은 네임스페이스의 클레임."
    ),
    "Annotations of the pods' ServiceAccount, such as a cloud identity's.": (
        "파드의 ServiceAccount에 붙는 어노테이션. 클라우드 신원 등."
    ),
    "The evaluation image, only with `evaluation.owner: pulumi`; otherwise Git decides.": (
        "평가 이미지. `evaluation.owner: pulumi`일 때만 쓰며, 아니면 Git이 정합니다."
    ),
    "Registry and name.": "레지스트리와 이름.",
    "Tag.": "태그.",
    "Digest; wins over the tag.": "다이제스트. 태그보다 우선합니다.",
    "Look the tag's digest up at each `up` (pulumi-docker).": "`up`마다 태그의 다이제스트를 확인(pulumi-docker).",
    "Build and push at each `up` (pulumi-docker; needs a Docker daemon).": (
        "`up`마다 빌드하고 푸시(pulumi-docker, Docker 데몬 필요)."
    ),
    "Pushgateway, alert rules and dashboard. Needs the Prometheus Operator's CRDs.": (
        "Pushgateway, 알림 규칙, 대시보드. Prometheus Operator의 CRD가 필요합니다."
    ),
    "False on a cluster without the Prometheus Operator: nothing is published.": (
        "Prometheus Operator가 없는 클러스터에서는 false. 아무것도 발행하지 않습니다."
    ),
    "Label `release` of rules and monitors, for Prometheus.": (
        "Prometheus가 고르는, 규칙과 모니터의 레이블 `release`."
    ),
    "Additional labels of rules and monitors, for Prometheus' selectors.": (
        "Prometheus가 고르도록 규칙과 모니터에 더하는 레이블."
    ),
    "How often the gateway is scraped.": "게이트웨이를 스크랩하는 주기.",
    'How far back the alerts\' "day before" is; change it only for drills.': (
        '알림에서 "하루 전"이 얼마나 앞인지. 훈련할 때만 바꾸십시오.'
    ),
    "Age of the last run after which an alert reports a missed run; use 1.5 times the runs' interval.": (
        "마지막 실행이 이보다 오래되면 실행이 빠졌다고 알림. 실행 간격의 1.5배로 설정."
    ),
    "Labels for Grafana's sidecar.": "Grafana 사이드카를 위한 레이블.",
    "False where another stack of the cluster has the dashboard, or no Grafana sidecar reads it.": (
        "클러스터의 다른 스택이 이미 대시보드를 두었거나 읽을 Grafana 사이드카가 없으면 false."
    ),
    "Grafana folder of the dashboard.": "대시보드가 들어갈 Grafana 폴더.",
    "Address of the dashboard in alerts.": "알림에 쓰는 대시보드의 주소.",
    "Address of the runbook in alerts; default: the project's, in `evaluation.language`.": (
        "알림에 쓰는 런북의 주소. 기본값: `evaluation.language`에 맞는 프로젝트의 것."
    ),
    "Address of the reports' index (without `/index.html`), for links in alerts and on the dashboard.": (
        "알림과 대시보드가 연결하는 리포트 인덱스의 주소(`/index.html` 제외)."
    ),
    "Who gets the alerts, by an AlertmanagerConfig that leaves the cluster's other routes as they are.": (
        "알림을 받는 곳. AlertmanagerConfig로 만들며, 클러스터의 다른 라우트는 그대로입니다."
    ),
    "slack, or webhook, which gets Alertmanager's JSON.": "slack, 또는 Alertmanager의 JSON을 받는 webhook.",
    "Its address, in a Secret of others; default: the secret `receiver-<name>`.": (
        "다른 사람이 관리하는 Secret에 있는 주소. 기본값: 시크릿 `receiver-<name>`."
    ),
    "Slack channel, if the address can post to several channels.": "Slack 채널. 주소가 여러 채널에 쓸 수 있을 때 사용.",
    "Severities of the alerts that it receives.": "받는 알림의 심각도.",
    "A gateway that others run, in the place of one of the stack's own; Prometheus must read it with `honorLabels`.": (
        "스택의 것 대신 쓰는, 다른 사람이 운영하는 게이트웨이. Prometheus가 `honorLabels`로 읽어야 합니다."
    ),
    "How that one is reached.": "그 게이트웨이에 접근하는 경로.",
    "Its image; set it to pull from a mirror.": "게이트웨이의 이미지. 미러에서 받을 때 설정.",
    "Size of its claim.": "게이트웨이 클레임의 크기.",
    "Class of its claim; default: the cluster's.": "게이트웨이 클레임의 스토리지 클래스. 기본값: 클러스터의 것.",
    "Digest of the image, beside the pinned tag.": "고정된 태그와 함께 쓰는 이미지의 다이제스트.",
    "Their namespace (null: any).": "그 파드의 네임스페이스(null: 모두).",
    "Their labels.": "그 파드의 레이블.",
    "One served model.": "서빙 중인 모델 하나.",
    "Label `model` of its series; `name@tag` where it stands for several tags.": (
        "시계열의 레이블 `model`. 태그가 여럿이면 `name@tag`."
    ),
    "Label `model_tag`; no two models share one.": "레이블 `model_tag`. 두 모델이 같은 태그를 쓸 수 없습니다.",
    "Base address of its OpenAI API.": "OpenAI API의 기본 주소.",
    "How it is reached.": "모델에 접근하는 경로.",
    "Name that the endpoint knows it by (default: name).": "엔드포인트가 모델을 부르는 이름(기본값: name).",
    "completions or chat.": "completions 또는 chat.",
    "Requests in flight.": "동시에 보내는 요청 수.",
    "Names the secret `endpoint-<api_key>`, or a key of a Secret of others.": (
        "시크릿 `endpoint-<api_key>`의 이름, 또는 다른 사람이 관리하는 Secret의 키."
    ),
    "The same for its CA bundle.": "CA 번들을 같은 방법으로 지정.",
    "Accepted baseline (default: from the first good run on).": "받아들인 기준선(기본값: 처음으로 성공한 실행부터).",
    "Run id to compare with.": "비교할 실행의 id.",
    "Laid over the generation_kwargs of every task's YAML; a task's own `generation` lies over it.": (
        "모든 태스크 YAML의 generation_kwargs 위에 덮어씀. 태스크 자신의 `generation`이 이보다 우선합니다."
    ),
    "off: thinking is turned off, any: it may think, required: an answer without a thought is a fault.": (
        "off: 생각을 끔, any: 생각할 수 있음, required: 생각 없는 답은 오류."
    ),
    "Text that ends a thought, for a server without a reasoning parser.": (
        "추론 파서가 없는 서버의 글에서 생각이 끝나는 표시."
    ),
    "Stream answers token by token to measure the time to the first token; this slows the runner down.": (
        "답을 토큰마다 받아 첫 토큰까지의 시간을 잼. 러너의 속도가 떨어집니다."
    ),
    "Tasks and groups of the configuration that it is asked (default: all that are enabled).": (
        "설정 파일의 태스크와 그룹 가운데 이 모델에 묻는 것(기본값: 켜진 것 모두)."
    ),
    "Password or token for a private git repository.": "비공개 Git 저장소의 비밀번호나 토큰.",
    "Private SSH key for a private git repository.": "비공개 Git 저장소의 SSH 개인 키.",
    "Token for gated data sets and tokenizers.": "접근이 제한된 데이터 세트와 토크나이저를 위한 토큰.",
    "Docker config JSON that pulls the evaluation image.": "평가 이미지를 받는 Docker config JSON.",
    "bcrypt hash of the password of Argo CD's user admin.": "Argo CD의 사용자 admin 비밀번호의 bcrypt 해시.",
    "API key or CA bundle of an endpoint; a model names it.": (
        "엔드포인트의 API 키나 CA 번들. 모델이 이름으로 가리킵니다."
    ),
    "Address of the receiver `<name>` of `monitoring.receivers`.": (
        "`monitoring.receivers`에 있는 `<name>` 수신자의 주소."
    ),
}
