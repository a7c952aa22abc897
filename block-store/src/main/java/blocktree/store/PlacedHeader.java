package blocktree.store;

import blocktree.crypto.PrincipalId;

/** A header that was proved to be part of a commit: where in the log, when in log time, by whom. */
record PlacedHeader(Header header, long position, long timeMillis, PrincipalId writer) {}
