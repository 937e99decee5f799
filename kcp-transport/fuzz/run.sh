#!/bin/sh
# Runs fuzz targets one after the other: run.sh SECONDS [TARGET...]
#
# Without names, all of them. What is found is written to artifacts/TARGET.
set -eu
cd "$(dirname "$0")"
seconds=${1:?"usage: run.sh SECONDS [TARGET...]"}
shift
[ $# -gt 0 ] || set -- $(find fuzz_targets -name '*.rs' -exec basename {} .rs \; | sort)
# The sanitizers of the compiler are not stable; the compiler is.
export RUSTC_BOOTSTRAP=1
for target in "$@"; do
    # Pointers are met in the kernels and the ciphers; elsewhere speed finds more.
    case $target in
    field_kernels | fec_* | open_each_cipher | cipher_batch) sanitizer=address ;;
    *) sanitizer=none ;;
    esac
    # What is new is kept apart from the inputs under version control.
    mkdir -p "found/$target"
    echo "== $target"
    cargo fuzz run -s "$sanitizer" "$target" "found/$target" "corpus/$target" -- \
        -max_total_time="$seconds" -rss_limit_mb=1024 -timeout=5 -max_len=4096 -print_final_stats=1
done
