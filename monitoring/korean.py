"""The alerts' texts in Korean, by the alert's name: summary and description, with the words of `texts.fill`.

Names of series, labels, alerts and tasks stay as they are: one searches for them. Particles never follow a name,
since which one is right depends on its last sound.
"""

from collections.abc import Mapping
from typing import Final

KOREAN: Final[Mapping[str, tuple[str, str]]] = {
    "CustomTaskRegression": (
        "[task_of_model] 점수가 [percent]로 떨어졌습니다",
        (
            "[where]: 태그 [tag]의 exact match는 [percent]이며, 하루 전에는 [reference]였습니다(항목 [samples]개). "
            "하락 폭이 [drop]를 넘고, 표준 오차의 [day_noise]배보다 큽니다.[fell] "
            "점수가 회복되거나 다른 수준을 기준선으로 받아들일 때까지 알림이 유지됩니다."
        ),
    ),
    "EvaluationRegression": (
        "[task_of_model] 점수가 기준선보다 낮습니다: [percent]",
        (
            "[where]: 태그 [tag]의 exact match는 [percent], 고정된 기준선은 [baseline]입니다"
            "(항목 [samples]개, p = [pvalue]). 하락 폭이 [drop]를 넘고, 잡음으로 볼 수 없습니다.[fell] "
            "이후 실행에서 판정이 바뀌거나 다른 수준을 받아들일 때까지 알림이 유지됩니다."
        ),
    ),
    "EvaluationSamplesMissing": (
        "[task_of_model] 점수의 근거가 된 항목이 너무 적습니다",
        "[where]: 점수에 반영된 항목이 예상의 [percent]뿐입니다(태그 [tag]). 이 점수와 비교 결과는 믿을 수 없습니다.",
    ),
    "EvaluationInconclusive": (
        "[task_of_model] 점수를 기준선과 구별할 수 없습니다",
        (
            "[where]: [unsettled] 동안 기준선과 비교해도 결론이 나지 않았습니다(태그 [tag], 항목 [samples]개). "
            "항목을 늘리거나 답을 더 안정적으로 만들어야 합니다."
        ),
    ),
    "EvaluationNoBaseline": (
        "[task_of_model] 점수에 기준선이 없습니다",
        (
            "[where]: 현재 형태의 이 태스크에는 [unsettled] 동안 기준선이 없었습니다(태그 [tag]). "
            "이 상태에서는 성능 저하를 찾을 수 없으니, 실행 하나를 기준선으로 받아들이십시오."
        ),
    ),
    "EvaluationFailed": (
        "[task_of_model] 평가가 마지막 실행에서 실패했습니다",
        (
            "[where]: 마지막 실행이 검증을 통과하지 못해, 그 답으로는 점수를 내지 않았습니다. "
            "지금 표시되는 점수([score])는 마지막으로 통과한 실행의 값입니다. 원인은 파드 로그의 끝에 있습니다."
        ),
    ),
    "EvaluationStale": (
        "모델 {{ $labels.model }}: 평가가 이루어지지 않고 있습니다",
        (
            '[model_where]: {{ if eq (printf "%v" $value) "+Inf" }}설정에 있는 모델이지만 실행 기록이 없습니다. '
            "한 번도 실행되지 않았거나 시계열이 사라졌습니다{{ else }}마지막 실행이 끝난 지 "
            "{{ $value | humanizeDuration }} 지났고, 점수도 그때의 것입니다{{ end }}. "
            "실행 간격이 [stale]보다 길어지면 실행이 누락된 것으로 봅니다."
        ),
    ),
    "EvaluationEndpointSlow": (
        "모델 {{ $labels.model }}: 응답 속도가 평소의 [percent]입니다",
        (
            "[model_where]: 하루 전에도 있던 모든 태스크에서, 마지막 실행의 요청 시간이 [usual] 동안의 중앙값보다 "
            "길었습니다. 가장 덜 느려진 태스크도 평소 속도의 [percent]로, 기준인 [slow]보다 낮습니다. "
            "점수에는 영향이 없습니다."
        ),
    ),
}
