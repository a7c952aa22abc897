package blocktree.store;

import blocktree.crypto.PrincipalId;

/** One kept generation of a block: when it was committed (log time) and by whom. */
public record GenerationInfo(long generation, long position, long timeMillis, PrincipalId writer, boolean tombstone) {}
