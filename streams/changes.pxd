from lsmstore.buf cimport Buf, read_varint
