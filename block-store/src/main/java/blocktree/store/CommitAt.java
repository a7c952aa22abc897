package blocktree.store;

/** A commit of the log whose signature was verified, and its log time. */
record CommitAt(CommitBody body, long timeMillis) {}
