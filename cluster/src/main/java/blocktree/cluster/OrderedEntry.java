package blocktree.cluster;

import com.google.protobuf.ByteString;

/** An entry at its place in the order; one of the engine's own has no bytes. */
public record OrderedEntry(Machine.Mark mark, ByteString bytes) {}
