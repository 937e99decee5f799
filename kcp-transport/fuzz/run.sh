#!/bin/sh
# Runs fuzz targets one after the other: run.sh SECONDS [TARGET...]
#
# Without names, it runs all targets. Findings are written to artifacts/TARGET.
set -eu
cd "$(dirname "$0")"
seconds=${1:?"usage: run.sh SECONDS [TARGET...]"}
shift
[ $# -gt 0 ] || set -- $(find fuzz_targets -name '*.rs' -exec basename {} .rs \; | sort)
# Allows the unstable sanitizer options in the stable compiler.
export RUSTC_BOOTSTRAP=1
for target in "$@"; do
    # Only the kernels and the ciphers use pointers. Other targets find more without a sanitizer, which is faster.
    case $target in
    field_kernels | fec_* | open_each_cipher | cipher_batch) sanitizer=address ;;
    *) sanitizer=none ;;
    esac
    # New inputs are kept apart from the inputs under version control.
    mkdir -p "found/$target"
    echo "== $target"
    cargo fuzz run -s "$sanitizer" "$target" "found/$target" "corpus/$target" -- \
        -max_total_time="$seconds" -rss_limit_mb=1024 -timeout=5 -max_len=4096 -print_final_stats=1
done
