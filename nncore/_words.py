"""What explanations say, in English and Korean."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["LANGUAGES", "WORDS"]

LANGUAGES = ("en", "ko")

#: key -> (English, Korean).  Both take the same fields.
_BOTH: Mapping[str, tuple[str, str]] = {
    # The step as a whole.
    "title": ("One training step, with every number", "학습 한 단계의 모든 숫자"),
    "network": (
        "The network: {chain}. Loss: {loss}. Optimizer: {optimizer}, learning rate {rate}. The "
        "batch has {rows}; numbers are {dtype}.",
        "신경망: {chain}. 손실 함수: {loss}. 옵티마이저: {optimizer}, 학습률 {rate}. "
        "배치는 {rows}이고, 숫자는 {dtype}이다.",
    ),
    "a_row": ("one row", "1행"),
    "some_rows": ("{n} rows", "{n}행"),
    "inputs": ("{n} inputs", "입력 {n}개"),
    "counting": (
        "In formulas units are counted from 1, as in textbooks: x1 is x[0]. E is the error (the "
        "loss), t a target, o an output, h the output of a hidden unit, z the weighted sum before "
        "the activation. dE/dw says how much E grows when w grows a little.",
        "식에서는 교재처럼 번호를 1부터 센다: x1은 x[0]이다. E는 오차(손실), t는 목푯값, o는 출력, "
        "h는 은닉 유닛의 출력, z는 활성화 함수를 거치기 전의 가중합이다. dE/dw는 w가 조금 커질 때 "
        "E가 얼마나 커지는지를 나타낸다.",
    ),
    "numbering": (
        "The weights are numbered through, unit by unit:",
        "가중치에는 유닛 순서대로 번호를 붙인다:",
    ),
    "symbol": ("symbol", "기호"),
    "parameter": ("parameter", "매개변수"),
    "value": ("value", "값"),
    "large": (
        "This step is too large to write out: {parameters} parameters in {layers} layers, {rows}. "
        "Shown instead are shapes, norms (the root of the sum of squares) and the first "
        "{n} numbers of each array, and one weight of a layer worked out. "
        'Ask for any other by its name: trace.explain("{example}").',
        "이 단계는 전부 적기에는 너무 크다: 매개변수 {parameters}개, 층 {layers}개, 배치 {rows}. "
        "대신 각 배열의 형태, 노름(제곱합의 제곱근), 처음 {n}개의 숫자를 보이고, "
        "층마다 가중치 하나만 계산해 보인다. 다른 매개변수는 이름으로 부른다: "
        'trace.explain("{example}").',
    ),
    "one_row": (
        "The batch has {rows} rows; what follows is row {row}. The gradients add up all rows.",
        "배치는 {rows}행이다. 아래에서는 그중 {row}행을 따라간다. 기울기는 모든 행을 더한 것이다.",
    ),
    "left_out_layers": ("({n} layers between are left out)", "(중간의 층 {n}개는 생략)"),
    "array": ("array", "배열"),
    "shape": ("shape", "형태"),
    "norm": ("norm", "노름"),
    "first": ("first numbers", "처음 숫자들"),
    # Forward.
    "forward": ("1. Forward pass", "1. 순전파"),
    "stage": ('Stage {n}: layer "{layer}"', '{n}단계: "{layer}" 층'),
    "weighted_sum": (
        "Each unit adds up its inputs times its weights{bias}{then}.",
        "각 유닛은 입력에 가중치를 곱하여 모두 더{bias}{then}.",
    ),
    "with_bias": (", and its bias", "하고 편향을 더"),
    "without_bias": ("", ""),
    "then_activation": (
        "; the activation {activation} makes its output of that",
        "한다. 그 값을 활성화 함수 {activation}에 넣은 것이 출력이다",
    ),
    "then_nothing": (
        "; there is no activation, so the sum is the output",
        "한다. 활성화 함수가 없으므로 그 합이 곧 출력이다",
    ),
    "softmax": (
        "softmax makes probabilities of a row: each is positive, and together they are 1.",
        "softmax는 한 행을 확률로 바꾼다: 각각 양수이고, 모두 더하면 1이다.",
    ),
    "stage_activation": (
        "The activation {activation}, element by element.",
        "활성화 함수 {activation}, 원소마다 적용한다.",
    ),
    "stage_dropout": (
        "Dropout sets an input to 0 with probability {rate} and divides the others by 1 - {rate}.",
        "드롭아웃은 각 입력을 {rate}의 확률로 0으로 만들고, 나머지를 (1 - {rate})의 값으로 나눈다.",
    ),
    "stage_rescaling": (
        "Rescaling: times {scale}, plus {offset}.",
        "크기 조정: {scale}배 한 뒤 {offset}만큼 더한다.",
    ),
    # The error.
    "error": ("2. The error", "2. 오차"),
    "error_of": (
        "The loss {loss}: how far each output is from its target{mean}.",
        "손실 함수 {loss}: 각 출력이 목푯값에서 얼마나 떨어져 있는가{mean}.",
    ),
    "error_mean": (
        ", divided by the {n} outputs, so that the sum is the mean",
        ". 출력 {n}개로 나누므로 더하면 평균이 된다",
    ),
    "error_classes": (
        "The loss {loss}: minus the logarithm of the probability given to the true class. Classes "
        "whose target is 0 add nothing.",
        "손실 함수 {loss}: 정답 클래스에 준 확률의 로그에 음의 부호를 붙인 것이다. 목푯값이 0인 "
        "클래스는 더할 것이 없다.",
    ),
    "smoothing": (
        "Label smoothing {alpha} has moved the targets; t is what it left.",
        "레이블 스무딩({alpha})으로 목푯값을 옮겼다. t는 옮긴 뒤의 값이다.",
    ),
    "logits": (
        "The loss takes raw outputs (from_logits=True): p is {activation}(o).",
        "손실 함수가 활성화 전의 출력을 받는다(from_logits=True): p는 {activation}(o)이다.",
    ),
    "in_all": ("In all:", "모두 더하면:"),
    "row_errors": (
        "Each row has its error L; E is {reduction}:",
        "행마다 오차 L이 있고, E는 {reduction}이다:",
    ),
    "mean": ("their mean", "그 평균"),
    "sum": ("their sum", "그 합"),
    "mean_with_sample_weight": (
        "their mean, weighted by r",
        "r을 가중치로 한 평균",
    ),
    "weighted": (", each times its weight r", "(각각 가중치 r을 곱함)"),
    "rooted": (
        "E is the square root of the mean of the squared errors:",
        "E는 제곱 오차 평균의 제곱근이다:",
    ),
    "penalty": (
        "Regularization adds its penalty to the error:",
        "규제(regularization)가 오차에 벌점을 더한다:",
    ),
    "row": ("row {n}", "{n}행"),
    "more_rows": (
        "The {n} rows that are not shown add {value}.",
        "보이지 않은 {n}개 행의 합은 {value}이다.",
    ),
    "rows_left": (
        "Of each sum the first {shown} of {n} rows are shown.",
        "각 합에서 {n}개 행 중 처음 {shown}개만 보인다.",
    ),
    "more_terms": (
        "Shown are the first {shown} of {n} terms.",
        "항 {n}개 중 처음 {shown}개만 보인다.",
    ),
    "more_outputs": (
        "Shown are the first {shown} of {n} outputs.",
        "출력 {n}개 중 처음 {shown}개만 보인다.",
    ),
    # Back.
    "backward": ("3. Backward pass", "3. 역전파"),
    "chain_rule": (
        "The chain rule: the derivative of a chain is the product of the derivatives of its links. "
        "The error depends on an output, the output on the weighted sum, the sum on a weight.",
        "연쇄 법칙: 이어진 함수의 미분은 각 고리의 미분을 곱한 것이다. 오차는 출력에, 출력은 "
        "가중합에, 가중합은 가중치에 따라 달라진다.",
    ),
    "output_layer": ('Output layer "{layer}"', '출력층 "{layer}"'),
    "hidden_layer": ('Hidden layer "{layer}"', '은닉층 "{layer}"'),
    "other_layer": ('Layer "{layer}"', '"{layer}" 층'),
    "from_above": (
        "A hidden unit has no target of its own: its error is what it passes on, so the terms of "
        "all units that it leads to are added.",
        "은닉 유닛에는 목푯값이 없다. 그 유닛이 이어진 위층의 모든 유닛을 통해 오차에 미친 영향을 "
        "더한다.",
    ),
    "slope": ("The derivative of {activation}:", "{activation}의 미분:"),
    "then_weights": ("So for each weight:", "따라서 각 가중치에 대하여:"),
    "one_step": (
        "{activation} and the cross-entropy are one step: their derivatives multiply to output "
        "minus target, so dE/dz comes at once and dE/do is never computed. That is shorter, and "
        "nothing can overflow or be divided by 0.",
        "{activation} 함수와 교차 엔트로피는 한 단계로 계산한다: 두 미분을 곱하면 "
        "'출력 - 목푯값'이 되므로 dE/do를 따로 구하지 않고 dE/dz를 바로 얻는다. 식이 짧고, "
        "오버플로나 0으로 나누는 일도 생기지 않는다.",
    ),
    "jacobian": (
        "Each output of softmax depends on every z of the row, so all outputs are in the sum.",
        "softmax의 각 출력은 그 행의 모든 z에 따라 달라지므로 모든 출력에 대해 더한다.",
    ),
    "regularized": (
        "The gradient includes the derivative of the penalty.",
        "기울기에는 벌점의 미분이 더해져 있다.",
    ),
    "worked": (
        "{name}, the weight of this layer with the largest gradient:",
        "이 층에서 기울기가 가장 큰 가중치 {name}:",
    ),
    "and_so_on": (
        "And so on up to the loss, layer by layer, by the same rule.",
        "그 위의 층도 손실까지 같은 규칙으로 계산한다.",
    ),
    "frozen": (
        'The layer "{layer}" is not trained (trainable=False): it passes the error on, and its '
        "weights stay.",
        '"{layer}" 층은 학습하지 않는다(trainable=False): 오차는 아래로 전하지만 가중치는 그대로 '
        "둔다.",
    ),
    # One parameter.
    "parameter_title": ("The gradient of {name}", "{name}의 기울기"),
    "is_weight": (
        '{symbol} is the weight from {source} to unit {unit} of layer "{layer}". Its value is '
        "{value}.",
        '{symbol}: {source}에서 "{layer}" 층의 {unit}번 유닛으로 가는 가중치. 값은 {value}이다.',
    ),
    "is_bias": (
        '{symbol} is the bias of unit {unit} of layer "{layer}". Its value is {value}.',
        '{symbol}: "{layer}" 층 {unit}번 유닛의 편향. 값은 {value}이다.',
    ),
    "by_chain_rule": ("By the chain rule:", "연쇄 법칙에 따라:"),
    "each_row": (
        "Each row of the batch adds its own product:",
        "배치의 각 행이 자기 몫의 곱을 더한다:",
    ),
    "factors": ("Where the factors come from (row {row}):", "각 인수를 구하는 방법({row}행):"),
    "and_above": ("Above that:", "그 위층에서는:"),
    "grows": (
        "The gradient is positive: when {symbol} grows, the error grows.",
        "기울기가 양수이다: {symbol} 값이 커지면 오차도 커진다.",
    ),
    "shrinks": (
        "The gradient is negative: when {symbol} grows, the error shrinks.",
        "기울기가 음수이다: {symbol} 값이 커지면 오차는 작아진다.",
    ),
    "zero": (
        "The gradient is 0: a small change of {symbol} leaves the error as it is.",
        "기울기가 0이다: {symbol} 값이 조금 변해도 오차는 그대로이다.",
    ),
    # The update.
    "update": ("4. New weights", "4. 새 가중치"),
    "update_of": ("The update by {optimizer}:", "{optimizer}에 의한 갱신:"),
    "rule_sgd": (
        "Gradient descent: each weight takes a step against its gradient, the learning rate lr "
        "times as long.",
        "경사 하강법: 각 가중치를 기울기의 반대 방향으로, 기울기에 학습률 lr을 곱한 만큼 옮긴다.",
    ),
    "rule_momentum": (
        "Momentum: the step m keeps a part of the step before, like a ball that rolls on.",
        "모멘텀: 이번 걸음 m은 지난 걸음의 일부를 간직한다. 공이 계속 구르는 것과 같다.",
    ),
    "rule_nesterov": (
        "Nesterov momentum: as momentum, looking one step ahead.",
        "네스테로프 모멘텀: 모멘텀과 같되 한 걸음 앞을 내다본다.",
    ),
    "rule_adagrad": (
        "Adagrad: each weight's step is divided by the root of the sum a of its squared gradients "
        "so far.",
        "Adagrad: 각 가중치의 걸음을 지금까지의 기울기 제곱합 a의 제곱근으로 나눈다.",
    ),
    "rule_rmsprop": (
        "RMSprop: the step is divided by the root of v, a running mean of the squared gradient.",
        "RMSprop: 걸음을 기울기 제곱의 이동 평균 v의 제곱근으로 나눈다.",
    ),
    "rule_rmsprop_full": (
        "RMSprop, with momentum m{centered}.",
        "RMSprop에 모멘텀 m을 더한 것{centered}.",
    ),
    "centered": (
        " and centered: a is a running mean of the gradient",
        ", 중심화(centered): a는 기울기의 이동 평균",
    ),
    "rule_adam": (
        "Adam: m is a running mean of the gradient, v of its square; rate corrects both for having "
        "started at 0 (t is the number of the step, {t}).",
        "Adam: m은 기울기의, v는 기울기 제곱의 이동 평균이다. 둘 다 0에서 시작했으므로 rate로 "
        "보정한다(t는 단계 번호, {t}).",
    ),
    "rule_amsgrad": (
        "AMSGrad: Adam with the largest v so far (t is the number of the step, {t}).",
        "AMSGrad: 지금까지 가장 큰 v를 쓰는 Adam이다(t는 단계 번호, {t}).",
    ),
    "decay": (
        "Weight decay first shrinks the weight by lr × weight_decay of itself.",
        "가중치 감쇠는 먼저 가중치를 자기 자신의 lr × weight_decay만큼 줄인다.",
    ),
    "clipped": (
        "{clip} = {limit} has clipped the gradients: g is what it left.",
        "기울기를 {clip} = {limit} 기준으로 잘랐다(클리핑). g는 자르고 남은 값이다.",
    ),
    "example": ("For {name}:", "{name}의 경우:"),
    "all_new": ("All parameters:", "모든 매개변수:"),
    "gradient": ("gradient", "기울기"),
    "old": ("before", "이전 값"),
    "new": ("after", "새 값"),
    "change": ("norm of the change", "변화량의 노름"),
    "nothing_trained": (
        "No layer is trained (trainable=False), so no weight changes.",
        "학습하는 층이 없으므로(trainable=False) 가중치는 변하지 않는다.",
    ),
    # After it.
    "after": ("5. After the update", "5. 갱신한 뒤"),
    "after_text": (
        "A new forward pass with the new weights, on the same rows{masks}:",
        "새 가중치로 같은 행에 대해 다시 순전파를 하면{masks}:",
    ),
    "same_masks": (" and with the same dropout masks", "(드롭아웃 마스크도 같음)"),
    "went_down": (
        "The error went down by {value}.",
        "오차가 {value}만큼 줄었다.",
    ),
    "went_up": (
        "The error went up by {value}: the step was too long, or follows earlier gradients. A "
        "smaller learning rate takes shorter steps.",
        "오차가 {value}만큼 늘었다: 걸음이 너무 길었거나 이전 기울기의 영향이다. "
        "학습률을 줄이면 걸음이 짧아진다.",
    ),
    "stayed": ("The error stayed as it was.", "오차는 그대로이다."),
    "applied": ("The model itself has made this step.", "모델에도 이 단계를 적용했다."),
}

WORDS: Mapping[str, Mapping[str, str]] = {
    lang: {key: both[i] for key, both in _BOTH.items()} for i, lang in enumerate(LANGUAGES)
}
