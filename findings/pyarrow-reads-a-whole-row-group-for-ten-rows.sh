#!/usr/bin/env bash
# pyarrow's `iter_batches(10)` reads a whole column of a row group into memory before it gives 10 rows, unless
# two options are set.
#
# Versions: pyarrow 26.0.1; Python 3.11.7 on Linux x86-64.
#
# A Parquet file of 8,000 rows of 5 kB in one row group is read through a Python file that counts.
# `iter_batches` looks like a stream, but for the first 10 rows all 40 MB are read. `buffer_size=` alone changes
# nothing, and `pre_buffer=False` alone changes nothing; with both, one page of the column is read, here of
# 1,024 rows, whatever the size of the row group.
#
# It matters to whoever reads large tables in bounded memory: files of images often have row groups of a
# gigabyte.
#
# Output seen:
#
#   the file: about 40 MB, 1 row group
#   {}: 10 rows, 100% of the file read
#   {'buffer_size': 65536}: 10 rows, 100% of the file read
#   {'pre_buffer': False}: 10 rows, 100% of the file read
#   {'buffer_size': 65536, 'pre_buffer': False}: 10 rows, 13% of the file read

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    pyarrow==26.0.1
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import io, os, sys
import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 8_000


class Counting(io.BytesIO):
    bytes_read = 0

    def read(self, size=-1):
        data = super().read(size)
        self.bytes_read += len(data)
        return data


written = io.BytesIO()
table = pa.table({"data": [os.urandom(5_000) for _ in range(ROWS)]})
pq.write_table(table, written, row_group_size=ROWS, compression="none", use_dictionary=False)
whole = len(written.getvalue())
print(f"the file: about {whole / 1e6:.0f} MB, {pq.ParquetFile(written).metadata.num_row_groups} row group")
seen = []
for options in ({}, {"buffer_size": 1 << 16}, {"pre_buffer": False}, {"buffer_size": 1 << 16, "pre_buffer": False}):
    counting = Counting(written.getvalue())
    file = pq.ParquetFile(counting, **options)
    counting.bytes_read = 0
    rows = next(file.iter_batches(10, use_threads=False)).num_rows
    seen.append(counting.bytes_read / whole)
    print(f"{options}: {rows} rows, {seen[-1]:.0%} of the file read")
if min(seen[:3]) < 0.95 or seen[3] > 0.25:
    sys.exit("The behaviour changed.")
END
