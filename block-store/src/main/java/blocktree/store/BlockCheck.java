package blocktree.store;

import blocktree.crypto.BlockId;
import blocktree.crypto.CryptoException;
import blocktree.crypto.Hash;
import blocktree.crypto.Id;
import blocktree.crypto.SectorCipher;
import blocktree.crypto.TreeId;
import blocktree.store.Finding.Kind;
import blocktree.store.IntegrityNode.Entry;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;
import org.rocksdb.RocksIterator;

/**
 * Checks single blocks of one {@link StoreView}: each kept generation's header against its commit, its predecessor and its keys, and
 * the payloads of all of them, each node and sector once. Memory is bounded by a window of a payload and the nodes of one block.
 */
final class BlockCheck {

    /** What is done about sectors and nodes of a block that no generation of it names. */
    interface OrphanPolicy {

        /** Whether they mean anything: not while something of the block is missing, or others may know about them. */
        boolean looksAt(BlockId block);

        /** Records of collected generations of the block: what they name waits for the collector. */
        List<Garbage> pending(BlockId block) throws StoreException;

        /** Takes one. {@code useless} when no generation to come can need it. */
        void found(Kind kind, BlockId block, String detail, Column column, byte[] key, boolean useless)
                throws StoreException;

        /** Something of the block is absent or damaged. */
        void damaged(BlockId block);
    }

    private static final int COMMITS_MAX = 4_096;

    /** A window is what one node of level 1 covers: so much of a payload is compared at a time. */
    private static final int WINDOW_LOG2 = 2 * IntegrityNode.FAN_OUT_LOG2;

    /** A stored commit and its log time. */
    private record CommitAt(CommitBody body, long timeMillis) {}

    /** A node of an integrity tree, or, at level -1, a sector. */
    private record Place(int level, long index, long generation) {

        @Override
        public String toString() {
            return (level < 0 ? "sector " + index : "integrity node " + level + "/" + index) + " of generation "
                    + generation;
        }
    }

    private record Named(Place place, Hash hash) {}

    private final StoreView view;
    private final TreeId tree;
    private final CommitVerifier verifier;
    private final BlockKeys keys;
    private final SectorCipher cipher;
    private final Findings findings;
    private final OrphanPolicy orphans;
    private final boolean readSectors;
    private final Map<Long, CommitAt> commits = new LinkedHashMap<>(16, 0.75f, true);
    private byte[] plaintext = new byte[0];

    BlockCheck(
            StoreView view,
            TreeId tree,
            CommitVerifier verifier,
            BlockKeys keys,
            SectorCipher cipher,
            Findings findings,
            OrphanPolicy orphans,
            boolean readSectors) {
        this.view = view;
        this.tree = tree;
        this.verifier = verifier;
        this.keys = keys;
        this.cipher = cipher;
        this.findings = findings;
        this.orphans = orphans;
        this.readSectors = readSectors;
    }

    /** The block of the header that an iterator stands at. */
    static BlockId blockOf(RocksIterator headers) {
        return BlockId.of(Arrays.copyOf(headers.key(), Id.SIZE));
    }

    /**
     * Checks all generations of the block that {@code it}, an iterator over headers, stands at, and leaves it at the next block. {@code
     * newest} is what the tree's state says of the block; {@code stateKnown} is false when the state cannot be told.
     */
    void check(RocksIterator it, @Nullable StateEntry newest, boolean stateKnown) throws StoreException {
        BlockId id = blockOf(it);
        findings.blocks++;
        List<Header> withSectors = new ArrayList<>();
        long newestGeneration = newest == null ? 0 : newest.generation();
        boolean opens = true;
        boolean first = true;
        Header after = null;
        for (; it.isValid() && blockOf(it).equals(id); it.next()) {
            findings.step();
            findings.headers++;
            Header header = checkHeader(id, it.key(), it.value());
            if (header == null) {
                orphans.damaged(id);
            } else {
                newestGeneration = Math.max(newestGeneration, header.generation());
                if (first && stateKnown) {
                    checkNewest(header, newest);
                }
                checkFollower(header, after);
                opens &= checkAttributes(header);
                if (header.sectorCount() > 0) {
                    withSectors.add(header);
                }
            }
            after = header;
            first = false;
        }
        if (!opens) {
            findings.sealedBlocks++;
        }
        try {
            new PayloadCheck(id, withSectors, newestGeneration, opens).run();
        } catch (StoreException e) {
            if (!e.isUnreadable()) {
                throw e;
            }
            orphans.damaged(id);
            findings.error(Kind.DATABASE_DAMAGED, id, e.getMessage());
        }
    }

    private void checkNewest(Header header, @Nullable StateEntry expected) {
        BlockId id = header.block();
        String found = "the newest header is of generation " + header.generation();
        if (expected == null) {
            findings.error(Kind.STATE_MISMATCH, id, found + ", and the state map does not know the block");
        } else if (header.generation() < expected.generation()) {
            orphans.damaged(id);
            findings.error(Kind.HEADER_MISSING, id, found + ", the state map names " + expected.generation());
        } else if (header.generation() > expected.generation()) {
            findings.error(Kind.STATE_MISMATCH, id, found + ", the state map names " + expected.generation());
        } else if (!header.hash().equals(expected.headerHash())) {
            orphans.damaged(id);
            findings.error(Kind.STATE_MISMATCH, id, found + " and not the one that the state map names");
        }
    }

    private void checkFollower(Header header, @Nullable Header after) {
        if (after != null
                && after.generation() == header.generation() + 1
                && !Objects.equals(header.hash(), after.predecessor())) {
            findings.error(
                    Kind.HEADER_INVALID,
                    header.block(),
                    "generation " + header.generation() + " is not the one that the next one follows");
        }
    }

    private @Nullable Header checkHeader(BlockId id, byte[] key, byte[] value) throws StoreException {
        long generation = key.length == Keys.HEADER_SIZE ? Keys.headerGeneration(key) : 0;
        try {
            HeaderRecord record = HeaderRecord.parse(value);
            Header header = record.header();
            if (!header.block().equals(id) || header.generation() != generation) {
                throw StoreException.corrupt("it is of block " + header.block() + " generation " + header.generation());
            }
            if (!header.idIsDerived(tree)) {
                throw StoreException.corrupt("the id is not that of its domain, creator and nonce");
            }
            CommitAt commit = commitAt(record.position());
            CommitBody body = commit.body;
            if (!HeadersTree.proves(
                    body.headersRoot(), body.headerCount(), record.index(), header.hash(), record.path())) {
                throw StoreException.corrupt("it is not part of the commit at position " + record.position());
            }
            verifier.verifyAuthority(body, header, record.position(), commit.timeMillis);
            if (generation == 1) {
                verifier.verifySuccession(body, header, null);
            }
            return header;
        } catch (StoreException e) {
            if (e.code() == StoreException.Code.IO) {
                throw e;
            }
            findings.error(Kind.HEADER_INVALID, id, "header of generation " + generation + ": " + e.getMessage());
            return null;
        }
    }

    private CommitAt commitAt(long position) throws StoreException {
        CommitAt known = commits.get(position);
        if (known != null) {
            return known;
        }
        byte[] bytes = view.get(Column.LOG, Keys.log(position));
        if (bytes == null) {
            throw StoreException.corrupt("its commit, log entry " + position + ", is missing");
        }
        LogEntry entry = LogEntry.parse(bytes);
        if (entry.kind() != LogKind.COMMIT || entry.position() != position) {
            throw StoreException.corrupt("log entry " + position + " is not its commit");
        }
        CommitAt commit = new CommitAt(verifier.verifySignature(entry.payload()), entry.timeMillis());
        commits.put(position, commit);
        if (commits.size() > COMMITS_MAX) {
            var eldest = commits.keySet().iterator();
            eldest.next();
            eldest.remove();
        }
        return commit;
    }

    /** False when this node does not hold the key of the domain. */
    private boolean checkAttributes(Header header) {
        if (header.tombstone()) {
            return true;
        }
        byte[] ciphertext = header.sealed();
        try {
            open(header, SectorCipher.Kind.ATTRIBUTES, header.generation(), ciphertext);
            return true;
        } catch (StoreException e) {
            if (e.code() == StoreException.Code.DENIED) {
                return false;
            }
            findings.error(
                    Kind.ATTRIBUTES_INVALID,
                    header.block(),
                    "attributes of generation " + header.generation() + ": " + e.getMessage());
            return true;
        }
    }

    private void open(Header header, SectorCipher.Kind kind, long index, byte[] ciphertext) throws StoreException {
        int size = ciphertext.length;
        if (plaintext.length < size) {
            plaintext = new byte[size];
        }
        byte[] target = plaintext;
        try {
            int epoch = SectorCipher.epochOf(ciphertext, 0, size);
            keys.with(header, epoch, key -> cipher.open(key, kind, index, ciphertext, 0, size, target, 0));
        } catch (CryptoException e) {
            throw StoreException.corrupt(String.valueOf(e.getMessage()));
        } finally {
            Arrays.fill(target, 0, size, (byte) 0);
        }
    }

    /** The payloads of all generations of one block, each node and sector looked at once. */
    private final class PayloadCheck {

        private final BlockId id;
        private final byte[] prefix;
        private final List<Header> generations; // newest first
        private final long newestGeneration;
        private final boolean opens;
        private final Set<Place> seenNodes = new HashSet<>();
        private final Set<Named> walked = new HashSet<>();
        private final TreeMap<Long, List<Named>> windows = new TreeMap<>();
        private @Nullable List<Garbage> pending;

        PayloadCheck(BlockId id, List<Header> generations, long newestGeneration, boolean opens) {
            this.id = id;
            this.prefix = id.toBytes();
            this.generations = generations;
            this.newestGeneration = newestGeneration;
            this.opens = opens;
        }

        void run() throws StoreException {
            for (Header header : generations) {
                findWindows(header);
            }
            try (BoundedReads own = view.boundedTo(prefix)) {
                checkSectors(own);
                checkNodes(own);
            }
        }

        private void checkSectors(BoundedReads own) throws StoreException {
            try (SectorCursor it = new SectorCursor(view, own)) {
                it.seek(prefix);
                for (Map.Entry<Long, List<Named>> window : windows.entrySet()) {
                    checkWindow(window.getKey(), window.getValue(), it);
                }
                for (; it.isAt(prefix); it.next()) {
                    orphanSector(it);
                }
                it.checkEnd();
            }
        }

        private void checkNodes(BoundedReads own) throws StoreException {
            try (RocksIterator it = view.iterator(Column.NODES, own)) {
                for (it.seek(prefix); it.isValid() && Keys.startsWith(it.key(), prefix); it.next()) {
                    byte[] key = it.key();
                    boolean wellFormed = key.length == Keys.NODE_SIZE;
                    Place place = wellFormed
                            ? new Place(Keys.nodeLevel(key), Keys.nodeIndex(key), Keys.nodeGeneration(key))
                            : new Place(0, 0, 0);
                    if (!wellFormed || !seenNodes.contains(place)) {
                        orphan(Kind.NODE_ORPHAN, wellFormed, place, Column.NODES, key);
                    }
                }
                view.checkEnd(it, Column.NODES);
            }
        }

        /** Walks the upper levels of a generation's tree down to the nodes that cover a window each. */
        private void findWindows(Header header) throws StoreException {
            if (header.payloadGeneration() == 0) {
                return; // holes only; the header says so under its signature
            }
            int level = IntegrityNode.depth(header.sectorCount()) - 1;
            Place place = new Place(level, 0, header.payloadGeneration());
            byte[] node = view.get(Column.NODES, Keys.node(id, level, 0, header.payloadGeneration()));
            if (node == null) {
                damaged(Kind.NODE_MISSING, place.toString());
                return;
            }
            seenNodes.add(place);
            Hash hash = IntegrityNode.nodeHash(level, node);
            Hash root = IntegrityNode.payloadRoot(
                    header.sectorCount(), header.sectorSize(), new Entry(header.payloadGeneration(), hash));
            if (!Objects.equals(root, header.payloadRoot())) {
                damaged(
                        Kind.NODE_INVALID,
                        place + " does not give the payload root of generation " + header.generation());
                return;
            }
            descend(new Named(place, hash));
        }

        private void descend(Named named) throws StoreException {
            Place place = named.place;
            if (place.level <= 1) {
                long window = place.level == 1 ? place.index : place.index >>> IntegrityNode.FAN_OUT_LOG2;
                List<Named> roots = windows.computeIfAbsent(window, k -> new ArrayList<>());
                if (!roots.contains(named)) {
                    roots.add(named);
                }
                return;
            }
            for (Named child : children(named)) {
                descend(child);
            }
        }

        /** What a node names, after the node was verified; nothing when it is not sound or was walked before. */
        private List<Named> children(Named named) throws StoreException {
            if (!walked.add(named)) {
                return List.of();
            }
            findings.step();
            findings.nodes++;
            Place place = named.place;
            byte[] node = view.get(Column.NODES, Keys.node(id, place.level, place.index, place.generation));
            if (node == null) {
                damaged(Kind.NODE_MISSING, place.toString());
                return List.of();
            }
            seenNodes.add(place);
            if (!IntegrityNode.isWellFormed(node)
                    || !IntegrityNode.nodeHash(place.level, node).equals(named.hash)) {
                damaged(Kind.NODE_INVALID, place + " is not the one that is named above it");
                return List.of();
            }
            List<Named> children = new ArrayList<>();
            for (int i = 0; i < node.length / IntegrityNode.ENTRY_SIZE; i++) {
                Entry entry = IntegrityNode.entry(node, i);
                if (!entry.isHole()) {
                    long index = (place.index << IntegrityNode.FAN_OUT_LOG2) + i;
                    children.add(new Named(new Place(place.level - 1, index, entry.generation()), entry.hash()));
                }
            }
            return children;
        }

        /** Compares what the trees name in a window with what is stored there; leaves the iterator behind it. */
        private void checkWindow(long window, List<Named> roots, SectorCursor it) throws StoreException {
            Map<Place, Hash> named = new HashMap<>();
            for (Named root : roots) {
                collectLeaves(root, named);
            }
            long end = (window + 1) << WINDOW_LOG2;
            for (; it.isAt(prefix); it.next()) {
                byte[] key = it.key();
                if (key.length != Keys.SECTOR_SIZE) {
                    orphanSector(it);
                    continue;
                }
                if (Keys.sectorIndex(key) >= end) {
                    break;
                }
                Place place = new Place(-1, Keys.sectorIndex(key), Keys.sectorGeneration(key));
                Hash hash = named.get(place);
                if (hash != null && it.hasTwin() && !isHashOf(it.value(), hash)) {
                    orphanSector(it); // of a commit that was lost; the other is the one
                    continue;
                }
                named.remove(place);
                if (hash == null) {
                    orphanSector(it);
                } else if (readSectors) {
                    checkSector(place, it.value(), hash);
                }
            }
            it.checkEnd();
            for (Place place : named.keySet()) {
                findings.error(Kind.SECTOR_MISSING, id, place.toString());
            }
        }

        private void collectLeaves(Named named, Map<Place, Hash> leaves) throws StoreException {
            for (Named child : children(named)) {
                if (child.place.level >= 0) {
                    collectLeaves(child, leaves);
                } else {
                    Hash other = leaves.putIfAbsent(child.place, child.hash);
                    if (other != null && !other.equals(child.hash)) {
                        damaged(Kind.NODE_INVALID, "two generations name different content for " + child.place);
                    }
                }
            }
        }

        private void checkSector(Place place, byte[] ciphertext, Hash hash) throws StoreException {
            findings.sectorRead(ciphertext.length);
            if (!isHashOf(ciphertext, hash)) {
                findings.error(Kind.SECTOR_INVALID, id, place + " is not the one that its tree names");
                return;
            }
            if (!opens) {
                return;
            }
            // the oldest generation that can name it has its key, and every later one keeps that
            for (int i = generations.size() - 1; i >= 0; i--) {
                Header header = generations.get(i);
                if (header.generation() >= place.generation) {
                    try {
                        open(header, SectorCipher.Kind.SECTOR, place.index, ciphertext);
                    } catch (StoreException e) {
                        findings.error(Kind.SECTOR_INVALID, id, place + " does not open: " + e.getMessage());
                    }
                    return;
                }
            }
        }

        private static boolean isHashOf(byte[] ciphertext, Hash hash) {
            return Hash.of(IntegrityNode.leafHash(ciphertext, 0, ciphertext.length))
                    .equals(hash);
        }

        private void damaged(Kind kind, String detail) {
            orphans.damaged(id);
            findings.error(kind, id, detail);
        }

        private void orphanSector(SectorCursor it) throws StoreException {
            byte[] key = it.key();
            boolean wellFormed = key.length == Keys.SECTOR_SIZE;
            Place place =
                    wellFormed ? new Place(-1, Keys.sectorIndex(key), Keys.sectorGeneration(key)) : new Place(-1, 0, 0);
            orphan(Kind.SECTOR_ORPHAN, wellFormed, place, it.column(), key);
        }

        private void orphan(Kind kind, boolean wellFormed, Place place, Column column, byte[] key)
                throws StoreException {
            if (!orphans.looksAt(id)) {
                return;
            }
            if (!wellFormed) {
                orphans.found(kind, id, "a malformed key", column, key, true);
                return;
            }
            List<Garbage> records = pending;
            if (records == null) {
                records = orphans.pending(id);
                pending = records;
            }
            for (Garbage garbage : records) {
                boolean waits = place.level < 0
                        ? garbage.namesSector(place.index, place.generation)
                        : garbage.namesNode(place.level, place.index, place.generation);
                if (waits) {
                    return;
                }
            }
            // one of a generation to come may belong to a commit that is just being written
            orphans.found(
                    kind, id, place + " is named by no generation", column, key, place.generation <= newestGeneration);
        }
    }
}
