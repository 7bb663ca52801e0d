import optuna
import aiauto


# `https://dashboard.aiauto.pangyo.ainode.ai` 에 접속하여 ainode 에 로그인 한 후 aiauto 의 token 을 발급
# AIAutoController singleton 객체를 초기화 하여, OptunaWorkspace 를 활성화 시킨다 (토큰은 한 번만 설정)
ac = aiauto.AIAutoController('<token>')
# `https://dashboard.aiauto.pangyo.ainode.ai/workspace` 에서 생성된 OptunaWorkspace 와 optuna-dashboard 링크를 확인할 수 있음

# StudyWrapper 생성
study_wrapper = ac.create_study(
    study_name="simple_optimization",
    direction="minimize"
    # sampler=optuna.samplers.TPESampler(),  # optuna 에서 제공하는 sampler 그대로 사용 가능, 참고 https://optuna.readthedocs.io/en/stable/reference/samplers/index.html
)
# `https://dashboard.aiauto.pangyo.ainode.ai/study` 에서 생성된 study 확인 가능

# objective 함수 정의
def objective(trial: optuna.trial.Trial):
    """실제 실행은 사용자 로컬 컴퓨터가 아닌 서버에서 실행 될 함수"""
    x = trial.suggest_float('x', -10, 10)
    y = trial.suggest_float('y', -10, 10)
    return (x - 2) ** 2 + (y - 3) ** 2

# 사용자 모델 학습 or 최적화 실행 (서버에서 병렬 실행)
study_wrapper.optimize(
    objective,
    n_trials=100,
    parallelism=4  # 동시 실행 Pod 수
)
# `https://dashboard.aiauto.pangyo.ainode.ai/workspace` 에서 생성된 optuna-dashboard 링크에서 결과 확인 가능
