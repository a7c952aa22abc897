package blocktree.store;

import blocktree.crypto.BlockId;
import blocktree.crypto.CryptoException;
import blocktree.crypto.Hash;
import blocktree.crypto.Id;
import blocktree.crypto.SectorCipher;
import blocktree.crypto.TreeId;
import blocktree.store.Finding.Kind;
import blocktree.store.IntegrityNode.Entry;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;
import org.rocksdb.RocksIterator;

/**
 * Checks single blocks of one {@link StoreView}: each kept generation's header against its commit, its predecessor and its keys, and
 * the payloads of all of them, each node and sector once. Memory does not grow with the generations of a block or with its size.
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

    /**
     * Trees of one block of which a path each is kept. Of a block with more, sectors are looked up one by one in the order of the
     * generations that wrote them: in the order of their keys each would be of another tree than the one before.
     */
    private static final int TREES_MAX = 64;

    /** A node of an integrity tree, or, at level -1, a sector. */
    private record Place(int level, long index, long generation) {

        @Override
        public String toString() {
            return (level < 0 ? "sector " + index : "integrity node " + level + "/" + index) + " of generation "
                    + generation;
        }
    }

    private final StoreView view;
    private final TreeId tree;
    private final CommitVerifier verifier;
    private final BlockKeys keys;
    private final SectorCipher cipher;
    private final Findings findings;
    private final OrphanPolicy orphans;
    private final boolean readSectors;
    private final Map<Long, CommitAt> commits = new Recent<>(COMMITS_MAX);
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
        PayloadCheck payloads = new PayloadCheck(id);
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
                payloads.add(header);
            }
            after = header;
            first = false;
        }
        if (!opens) {
            findings.sealedBlocks++;
        }
        payloads.finish(newestGeneration, opens);
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
            CommitBody body = commit.body();
            if (!HeadersTree.proves(
                    body.headersRoot(), body.headerCount(), record.index(), header.hash(), record.path())) {
                throw StoreException.corrupt("it is not part of the commit at position " + record.position());
            }
            verifier.verifyAuthority(body, header, record.position(), commit.timeMillis());
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

    /**
     * The payloads of all generations of one block, from the newest on. What a tree names was written by its own generation or by an
     * earlier one; it is looked at where the oldest kept generation names it, so once, however many later ones still name it.
     */
    private final class PayloadCheck {

        private final BlockId id;
        private final byte[] prefix;
        private final Map<Long, Tree> trees = new Recent<>(TREES_MAX);
        private @Nullable Tree newer;
        private long generations;
        private long namedNodes;
        private long namedSectors;
        private long newestGeneration;
        private boolean opens;
        private boolean unreadable;
        private @Nullable List<Garbage> pending;

        PayloadCheck(BlockId id) {
            this.id = id;
            this.prefix = id.toBytes();
        }

        /** A part of the check; what cannot be read ends it, after a finding that says so. */
        @FunctionalInterface
        private interface Part {
            void run() throws StoreException;
        }

        private void run(Part part) throws StoreException {
            if (unreadable) {
                return;
            }
            try {
                part.run();
            } catch (StoreException e) {
                if (!e.isUnreadable()) {
                    throw e;
                }
                unreadable = true;
                orphans.damaged(id);
                findings.error(Kind.DATABASE_DAMAGED, id, e.getMessage());
            }
        }

        /** The next older generation whose header is sound. */
        void add(Header header) throws StoreException {
            run(() -> {
                Tree tree = tree(header);
                Kind problem = tree.problem;
                if (problem != null) {
                    damaged(
                            problem,
                            problem == Kind.NODE_MISSING
                                    ? tree.topPlace().toString()
                                    : tree.topPlace() + " does not give the payload root of generation "
                                            + header.generation());
                    return; // the next one is compared with an older one
                }
                Tree before = newer;
                if (before != null) {
                    new NodeWalk(before, tree).run();
                }
                newer = tree;
                generations++;
            });
        }

        /** After all generations: {@code opens} is false when this node does not hold the key of the domain. */
        void finish(long newest, boolean canOpen) throws StoreException {
            newestGeneration = newest;
            opens = canOpen;
            run(() -> {
                Tree oldest = newer;
                if (oldest != null) {
                    new NodeWalk(oldest, null).run();
                }
                try (BoundedReads own = view.boundedTo(prefix);
                        Owners owners = new Owners(own)) {
                    if (generations > TREES_MAX) {
                        long found = walkSectors(own, readSectors);
                        if (storedSectors(own) != found) {
                            scanSectors(own, owners, false);
                        }
                    } else if (scanSectors(own, owners, readSectors) < namedSectors) {
                        walkSectors(own, false);
                    }
                    checkNodes(own, owners);
                }
            });
        }

        private Tree tree(Header header) throws StoreException {
            Tree known = trees.get(header.generation());
            if (known == null) {
                known = new Tree(header);
                trees.put(header.generation(), known);
            }
            return known;
        }

        /** The tree of one generation, of which it keeps the nodes that it looked at last on each level. */
        private final class Tree {

            private final Header header;
            private final int topLevel;
            private final Entry top;
            /** Why the top node cannot be told. */
            private final @Nullable Kind problem;

            private final byte[] @Nullable [] path;
            private final Place[] places;

            Tree(Header header) throws StoreException {
                this.header = header;
                topLevel = IntegrityNode.depth(header.sectorCount()) - 1;
                path = new byte[topLevel + 1][];
                places = new Place[topLevel + 1];
                if (header.payloadGeneration() == 0) {
                    top = Entry.HOLE; // holes only; the header says so under its signature
                    problem = null;
                    return;
                }
                byte[] node = view.get(Column.NODES, Keys.node(id, topLevel, 0, header.payloadGeneration()));
                Entry entry = node == null
                        ? Entry.HOLE
                        : new Entry(header.payloadGeneration(), IntegrityNode.nodeHash(topLevel, node));
                boolean right = header.hasPayloadRoot(
                        IntegrityNode.payloadRoot(header.sectorCount(), header.sectorSize(), entry));
                top = right ? entry : Entry.HOLE;
                problem = node == null ? Kind.NODE_MISSING : right ? null : Kind.NODE_INVALID;
            }

            Place topPlace() {
                return new Place(topLevel, 0, header.payloadGeneration());
            }

            /** What names a node, or at level -1 a sector; a hole when the tree has none there, null when that cannot be told. */
            @Nullable
            Entry entry(int level, long index) throws StoreException {
                if (problem != null) {
                    return null;
                }
                if (level > topLevel || index >>> IntegrityNode.FAN_OUT_LOG2 * (topLevel - level) != 0) {
                    return Entry.HOLE;
                }
                Entry entry = top;
                for (int at = topLevel; at > level && !entry.isHole(); at--) {
                    byte[] node = node(at, index >>> IntegrityNode.FAN_OUT_LOG2 * (at - level), entry);
                    if (node == null) {
                        return null;
                    }
                    long child = index >>> IntegrityNode.FAN_OUT_LOG2 * (at - level - 1);
                    entry = IntegrityNode.entry(node, (int) child & (IntegrityNode.FAN_OUT - 1));
                }
                return entry;
            }

            /** A node that {@code entry} names; null when it is not there or not sound. */
            byte @Nullable [] node(int level, long index, Entry entry) throws StoreException {
                Place place = new Place(level, index, entry.generation());
                if (!place.equals(places[level])) {
                    byte[] node = view.get(Column.NODES, Keys.node(id, level, index, entry.generation()));
                    boolean sound = node != null && IntegrityNode.isNode(level, node, entry.hash());
                    path[level] = sound ? node : null;
                    places[level] = place;
                }
                return path[level];
            }
        }

        /** Goes to all that a generation names and the next older one does not. */
        private abstract class Walk {

            final Tree tree;
            private final @Nullable Tree older;
            private final long olderGeneration;

            Walk(Tree tree, @Nullable Tree older) {
                this.tree = tree;
                this.olderGeneration = older == null ? 0 : older.header.generation();
                boolean comparable = older != null && older.header.sectorSizeLog2() == tree.header.sectorSizeLog2();
                this.older = comparable ? older : null;
            }

            final void run() throws StoreException {
                visit(tree.topLevel, 0, tree.top);
            }

            private void visit(int level, long index, Entry entry) throws StoreException {
                if (entry.isHole()) {
                    return;
                }
                Place place = new Place(level, index, entry.generation());
                if (entry.generation() > tree.header.generation()) {
                    invalid(place + " is named by generation " + tree.header.generation() + " already");
                    return;
                }
                if (entry.generation() <= olderGeneration) {
                    Entry before = older == null ? Entry.HOLE : older.entry(level, index);
                    if (before != null) {
                        if (!before.equals(entry)) {
                            invalid(place + " is taken over by generation " + tree.header.generation()
                                    + ", and generation " + olderGeneration + " names another or none");
                        }
                        return;
                    }
                }
                if (level < 0) {
                    sector(place, entry.hash());
                    return;
                }
                byte[] node = tree.node(level, index, entry);
                if (node == null) {
                    unsound(place);
                    return;
                }
                node();
                for (int i = 0; i < node.length / IntegrityNode.ENTRY_SIZE; i++) {
                    visit(level - 1, (index << IntegrityNode.FAN_OUT_LOG2) + i, IntegrityNode.entry(node, i));
                }
            }

            abstract void sector(Place place, Hash hash) throws StoreException;

            abstract void node() throws StoreException;

            abstract void unsound(Place node) throws StoreException;

            abstract void invalid(String detail);
        }

        /** Checks the nodes and counts. */
        private final class NodeWalk extends Walk {

            NodeWalk(Tree tree, @Nullable Tree older) {
                super(tree, older);
            }

            @Override
            void sector(Place place, Hash hash) {
                namedSectors++;
            }

            @Override
            void node() throws StoreException {
                namedNodes++;
                findings.nodes++;
                findings.step();
            }

            @Override
            void unsound(Place place) throws StoreException {
                byte[] node = view.get(Column.NODES, Keys.node(id, place.level, place.index, place.generation));
                if (node == null) {
                    damaged(Kind.NODE_MISSING, place.toString());
                } else {
                    damaged(Kind.NODE_INVALID, place + " is not the one that is named above it");
                }
            }

            @Override
            void invalid(String detail) {
                damaged(Kind.NODE_INVALID, detail);
            }
        }

        /** Looks the sectors up, after the nodes were checked: tells of those that are not there, and checks the others. */
        private final class SectorWalk extends Walk {

            private final boolean content;
            private long found;

            SectorWalk(Tree tree, @Nullable Tree older, boolean content) {
                super(tree, older);
                this.content = content;
            }

            @Override
            void sector(Place place, Hash hash) throws StoreException {
                findings.step();
                byte[] key = Keys.sector(id, place.index, place.generation);
                byte[] there = null;
                for (Column column : Column.OF_SECTORS) {
                    byte[] value = view.get(column, key);
                    if (value != null && (there == null || IntegrityNode.isSector(value, hash))) {
                        there = value; // of two, the one that is not the one named is of a commit that was lost
                    }
                }
                if (there == null) {
                    findings.error(Kind.SECTOR_MISSING, id, place.toString());
                    return;
                }
                found++;
                if (content) {
                    checkSector(tree.header, place, there, hash);
                }
            }

            @Override
            void node() {}

            @Override
            void unsound(Place node) {}

            @Override
            void invalid(String detail) {}
        }

        /** How many of the sectors that are named are there. */
        private long walkSectors(BoundedReads own, boolean content) throws StoreException {
            long found = 0;
            Tree after = null;
            try (RocksIterator it = view.iterator(Column.HEADERS, own)) {
                for (it.seek(prefix); it.isValid(); it.next()) {
                    Header header = parse(it.value());
                    if (header == null || tree(header).problem != null) {
                        continue;
                    }
                    Tree tree = tree(header);
                    if (after != null) {
                        found += walked(new SectorWalk(after, tree, content));
                    }
                    after = tree;
                }
                view.checkEnd(it, Column.HEADERS);
            }
            return after == null ? found : found + walked(new SectorWalk(after, null, content));
        }

        private static long walked(SectorWalk walk) throws StoreException {
            walk.run();
            return walk.found;
        }

        private long storedSectors(BoundedReads own) throws StoreException {
            long stored = 0;
            try (SectorCursor it = new SectorCursor(view, own)) {
                for (it.seek(prefix); it.isAt(prefix); it.next()) {
                    stored++;
                }
                it.checkEnd();
            }
            return stored;
        }

        /** Null for one that is not sound, which was told. */
        private static @Nullable Header parse(byte[] record) {
            try {
                return HeaderRecord.parse(record).header();
            } catch (StoreException e) {
                return null;
            }
        }

        /** Finds for what a generation wrote the oldest generation that is kept and can name it. */
        private final class Owners implements AutoCloseable {

            private final RocksIterator headers;
            private @Nullable Tree last;
            private long lastFrom = 1;
            private long lastTo;

            Owners(BoundedReads own) {
                headers = view.iterator(Column.HEADERS, own);
            }

            @Nullable
            Tree of(long generation) throws StoreException {
                if (generation < lastFrom || generation > lastTo) {
                    find(generation);
                }
                return last;
            }

            private void find(long generation) throws StoreException {
                last = null;
                lastFrom = generation;
                lastTo = generation;
                headers.seekForPrev(Keys.header(id, generation));
                view.checkEnd(headers, Column.HEADERS);
                if (!headers.isValid() || !Keys.startsWith(headers.key(), prefix)) {
                    return;
                }
                lastTo = Keys.headerGeneration(headers.key());
                Tree known = trees.get(lastTo);
                Header header = known == null ? parse(headers.value()) : known.header;
                last = header == null ? null : tree(header);
                headers.next();
                lastFrom = headers.isValid() ? Keys.headerGeneration(headers.key()) + 1 : 1;
                view.checkEnd(headers, Column.HEADERS);
            }

            @Override
            public void close() {
                headers.close();
            }
        }

        /** How many of the sectors that are stored a generation names; the others are told of. */
        private long scanSectors(BoundedReads own, Owners owners, boolean content) throws StoreException {
            long found = 0;
            Place last = null;
            try (SectorCursor it = new SectorCursor(view, own)) {
                for (it.seek(prefix); it.isAt(prefix); it.next()) {
                    byte[] key = it.key();
                    if (key.length != Keys.SECTOR_SIZE) {
                        orphanSector(it);
                        continue;
                    }
                    Place place = new Place(-1, Keys.sectorIndex(key), Keys.sectorGeneration(key));
                    Tree owner = owners.of(place.generation);
                    Entry leaf = owner == null ? Entry.HOLE : owner.entry(-1, place.index);
                    if (leaf == null) {
                        continue; // the tree is damaged, which was told
                    }
                    boolean named = leaf.generation() == place.generation && !place.equals(last);
                    // of two, the one that is not the one named is of a commit that was lost
                    if (!named || it.hasTwin() && !IntegrityNode.isSector(it.value(), leaf.hash())) {
                        orphanSector(it);
                        continue;
                    }
                    last = place;
                    found++;
                    if (content) {
                        checkSector(Objects.requireNonNull(owner).header, place, it.value(), leaf.hash());
                    }
                }
                it.checkEnd();
            }
            return found;
        }

        private void checkNodes(BoundedReads own, Owners owners) throws StoreException {
            long stored = 0;
            try (RocksIterator it = view.iterator(Column.NODES, own)) {
                for (it.seek(prefix); it.isValid(); it.next()) {
                    stored++;
                }
                view.checkEnd(it, Column.NODES);
                if (stored == namedNodes) {
                    return; // each that is named is there, so there are no others
                }
                for (it.seek(prefix); it.isValid(); it.next()) {
                    byte[] key = it.key();
                    if (key.length != Keys.NODE_SIZE) {
                        orphan(Kind.NODE_ORPHAN, false, new Place(0, 0, 0), Column.NODES, key);
                        continue;
                    }
                    Place place = new Place(Keys.nodeLevel(key), Keys.nodeIndex(key), Keys.nodeGeneration(key));
                    Tree owner = owners.of(place.generation);
                    Entry entry = owner == null ? Entry.HOLE : owner.entry(place.level, place.index);
                    if (entry != null && entry.generation() != place.generation) {
                        orphan(Kind.NODE_ORPHAN, true, place, Column.NODES, key);
                    }
                }
                view.checkEnd(it, Column.NODES);
            }
        }

        /** {@code header} is of the oldest generation that can name the sector: it has its key, and every later one keeps that. */
        private void checkSector(Header header, Place place, byte[] ciphertext, Hash hash) throws StoreException {
            findings.sectorRead(ciphertext.length);
            if (!IntegrityNode.isSector(ciphertext, hash)) {
                findings.error(Kind.SECTOR_INVALID, id, place + " is not the one that its tree names");
            } else if (opens) {
                try {
                    open(header, SectorCipher.Kind.SECTOR, place.index, ciphertext);
                } catch (StoreException e) {
                    findings.error(Kind.SECTOR_INVALID, id, place + " does not open: " + e.getMessage());
                }
            }
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
