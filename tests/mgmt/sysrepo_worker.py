# SPDX-License-Identifier: BSD-3-Clause
"""The oracle of differential.py: applies edits to sysrepo's running, in a process with sysrepo's own, newer libyang.

Reads a line of JSON with the XML of each edit; answers with a line {"error", "data"}.
"""

import json
import sys

from cffi import FFI

ffi = FFI()
ffi.cdef("""
int sr_connect(uint32_t opts, void **conn);
int sr_session_start(void *conn, int ds, void **sess);
const void *sr_acquire_context(void *conn);
int sr_edit_batch(void *sess, const void *edit, const char *op);
int sr_apply_changes(void *sess, uint32_t timeout_ms);
int sr_discard_changes(void *sess);
typedef struct { void *conn; void *tree; } sr_data_t;
int sr_get_data(void *sess, const char *xpath, uint32_t depth, uint32_t timeout, uint32_t opts, sr_data_t **data);
void sr_release_data(sr_data_t *data);
const char *sr_strerror(int code);
int lyd_parse_data_mem(const void *ctx, const char *data, int fmt, uint32_t popt, uint32_t vopt, void **tree);
int lyd_print_mem(char **s, const void *root, int fmt, uint32_t opt);
void lyd_free_all(void *node);
void free(void *pointer);
""")
XML, JSON = 1, 2
SR_DS_RUNNING = 1
PARSE_ONLY, PARSE_OPAQ, WITH_SIBLINGS = 0x010000, 0x040000, 0x01


def main() -> None:
    sr, ly, c = ffi.dlopen("libsysrepo.so.7"), ffi.dlopen("libyang.so.3"), ffi.dlopen(None)
    out = ffi.new("void **")
    if sr.sr_connect(0, out):
        sys.exit("error: can't connect to sysrepo")
    connection = out[0]
    if sr.sr_session_start(connection, SR_DS_RUNNING, out):
        sys.exit("error: sysrepo gives no session")
    session = out[0]
    context = sr.sr_acquire_context(connection)
    for line in sys.stdin:
        tree = ffi.new("void **")
        xml = json.loads(line).encode()
        code = ly.lyd_parse_data_mem(context, xml, XML, PARSE_ONLY | PARSE_OPAQ, 0, tree)
        error = "can't be read" if code else ""
        if not code:
            code = sr.sr_edit_batch(session, tree[0], b"merge") or sr.sr_apply_changes(session, 0)
            if code:
                error = ffi.string(sr.sr_strerror(code)).decode()
                sr.sr_discard_changes(session)
        ly.lyd_free_all(tree[0])
        data, text = ffi.new("sr_data_t **"), ""
        sr.sr_get_data(session, b"/example:*", 0, 0, 0, data)
        if data[0] != ffi.NULL and data[0].tree != ffi.NULL:
            printed = ffi.new("char **")
            ly.lyd_print_mem(printed, data[0].tree, JSON, WITH_SIBLINGS)
            text = ffi.string(printed[0]).decode()
            c.free(printed[0])
        sr.sr_release_data(data[0])
        print(json.dumps({"error": error, "data": text}), flush=True)


if __name__ == "__main__":
    main()
