#!/usr/bin/env bash
# On a machine with a GPU and without a network, in at most ten minutes: is it right, and how fast is it?
#
#   python .ci/gpu_kit.py                   before, where there is a network: gathers build/gpu-kit (GPU_KIT names another)
#   bash .ci/gpu.sh [--quick] [STEP …]      tests, bench, utilisation, catalogue, run; all of them by default, in this order
#
# What is measured goes to results/performance/DEVICE/, with the command that measured it, and packed to $OUT where that
# is set. A step that takes too long is ended, what it had found stays, and the next one begins. With --quick all sizes
# are small and nothing is published: a try that a CPU can bear.
set -uo pipefail
cd "$(dirname "$0")/.."
kit=$PWD/${GPU_KIT:-build/gpu-kit}
python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
quick=
[ "${1:-}" = --quick ] && { quick=1; shift; }
steps=${*:-tests bench utilisation catalogue run}
SECONDS=0
LIMIT=570  # of the ten minutes, so that results can still be packed
slower=1

"$python" -m pip install --quiet --no-index --no-deps --no-compile --disable-pip-version-check \
  --target "$work/site" "$kit"/wheels/*.whl || exit 1
export PYTHONPATH=$PWD:$work/site PYTHONUNBUFFERED=1 TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1
export RECBOLE_EXT_TEST_TOKENIZER=$kit/tokenizer
export RECBOLE_EXT_TEST_DEVICE
RECBOLE_EXT_TEST_DEVICE=$("$python" -c 'import torch; print("cuda" if torch.cuda.is_available() else "cpu")') || exit 1
name=$("$python" -c 'from recbole_ext.bench.commands import folder_of_this_device; print(folder_of_this_device())') || exit 1
all=results/performance  # bench writes to the device's folder in it
data=$kit/data
datasets="Scientific Beauty" text=Scientific models="SASRec BERT4Rec" repeats=2
tests="" utilisation="--repeats 3" catalogue="--repeats 5" epochs=20 workers=6
if [ -n "$quick" ]; then  # the first users of Scientific; a CPU that others use too may take its time
  LIMIT=5400 slower=10
  all=$work/performance data=$work/data datasets=Trial text=Trial models=SASRec repeats=1 epochs=2 workers=0
  tests="user and rows or sampled or pairs" catalogue="--items 3000 --targets 64 --repeats 1"
  utilisation="--sequences 4 --batch-size 4 --max-tokens 64 --repeats 1"
  mkdir -p "$data/Trial"
  head -n 1200 "$kit/data/Scientific/Scientific.inter" > "$data/Trial/Trial.inter"
  cp "$kit/data/Scientific/Scientific.item" "$data/Trial/Trial.item"
fi
out=$all/$name
mkdir -p "$out"
failed=""

step() {  # step SECONDS COMMAND…: what is left of the ten minutes, or less
  local most=$(($1 * slower)) left=$((LIMIT - SECONDS)) began=$SECONDS
  shift
  [ "$left" -lt 15 ] && { echo "== left out, the time is up: $*"; failed+=" left-out"; return 1; }
  echo "== $*"
  timeout --kill-after=10 $((most < left ? most : left)) "$@"
  local status=$?
  echo "== $((SECONDS - began)) s, exit status $status"
  [ $status -eq 0 ] || { failed+=" $status"; return $status; }
}

ext() { step "$1" "$python" -m recbole_ext "${@:2}"; }

for name in $steps; do
  case $name in
    tests)
      step 170 "$python" -m pytest -q -m gpu tests/gpu -k "$tests" --tb=short -p no:cacheprovider -n $workers \
        > "$out/tests.txt" 2>&1
      tail -n 60 "$out/tests.txt"
      ;;
    bench)
      for dataset in $datasets; do
        for model in $models; do
          ext 100 bench --dataset "$dataset" --model "$model" --data-path "$data" --repeats $repeats --out="$all" \
            && mv "$out/table.md" "$out/$dataset-$model.md"
        done
      done
      ;;
    utilisation) ext 100 bench utilisation --dataset "$text" --data-path "$data" --tokenizer "$kit/tokenizer" \
      $utilisation --out="$all" ;;
    catalogue) ext 90 bench catalogue $catalogue --out="$all" ;;
    run)  # a benchmark's own runs, from random vectors and from the store that came along
      store=$(find "$kit/stores" -mindepth 1 -maxdepth 1 -type d 2>/dev/null | head -n 1)
      cat > "$work/gpu.yaml" <<YAML
name: gpu
data_path: $data
dataset_configs: $PWD/dataset_configs
results: $work/results
artifacts: $work/artifacts
datasets: [$text]
models: {SASRec: {hidden_size: 64}}
initialisations:
  random: {}
  ${store:+"store: {store: $store, transform: [{pca: 64}]}"}
seeds: [42]
config: {epochs: $epochs, show_progress: false}
YAML
      ext 90 run "$work/gpu.yaml" && cp "$work"/results/*/leaderboard.csv "$out/run.csv"
      ;;
    *) echo "no step $name"; exit 2 ;;
  esac
done
echo "== $SECONDS s in all, in $out:"
ls -l "$out"
[ -n "${OUT:-}" ] && tar -czf "$OUT/performance.tar.gz" "$out"
[ -z "$failed" ] || { echo "== failed:$failed"; exit 1; }
