package blocktree.store;

import blocktree.crypto.BlockId;
import blocktree.crypto.Hash;
import blocktree.crypto.Id;
import java.util.ArrayList;
import java.util.List;

/**
 * What a commit changed, in commit order: {@code (block ‖ u64 generation ‖ header hash) …} (docs/format.md, section 4.1, family
 * changes). Kept until a checkpoint covers the commit; the signed root of the headers proves the hashes.
 */
final class Changes {

    private static final int ENTRY_SIZE = 2 * Id.SIZE + Long.BYTES;

    private Changes() {}

    static byte[] encode(List<StateEntry> entries) {
        byte[] bytes = new byte[entries.size() * ENTRY_SIZE];
        int at = 0;
        for (StateEntry entry : entries) {
            entry.id().writeTo(bytes, at);
            Keys.putU64(bytes, at + Id.SIZE, entry.generation());
            entry.headerHash().writeTo(bytes, at + Id.SIZE + Long.BYTES);
            at += ENTRY_SIZE;
        }
        return bytes;
    }

    static List<StateEntry> parse(byte[] bytes) throws StoreException {
        if (bytes.length == 0 || bytes.length % ENTRY_SIZE != 0 || bytes.length / ENTRY_SIZE > CommitBody.HEADERS_MAX) {
            throw StoreException.invalid("list of changes of " + bytes.length + " bytes");
        }
        List<StateEntry> entries = new ArrayList<>(bytes.length / ENTRY_SIZE);
        for (int at = 0; at < bytes.length; at += ENTRY_SIZE) {
            long generation = Keys.getU64(bytes, at + Id.SIZE);
            if (generation < 1) {
                throw StoreException.invalid("a change to generation " + generation);
            }
            entries.add(new StateEntry(BlockId.of(bytes, at), generation, Hash.of(bytes, at + Id.SIZE + Long.BYTES)));
        }
        return entries;
    }
}
