package blocktree.store;

import blocktree.crypto.Authority;
import blocktree.crypto.BlockId;
import blocktree.crypto.CryptoException;
import blocktree.crypto.Hash;
import blocktree.crypto.Identity;
import blocktree.crypto.Rights;
import blocktree.crypto.SectorCipher;
import blocktree.crypto.SignatureKind;
import blocktree.crypto.WriteCapabilityChain;
import blocktree.store.IntegrityNode.Entry;
import blocktree.store.TakenLog.PlacedSnapshot;
import blocktree.store.TransferStream.Type;
import com.google.protobuf.InvalidProtocolBufferException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;
import org.rocksdb.RocksDBException;
import org.rocksdb.WriteBatch;

/** One run of a {@link StoreTarget} in a database that nobody else uses. For one thread. */
final class Taking implements AutoCloseable {

    /** So many entries of the state map are kept in memory; when there are more, the map is made from all headers. */
    private static final int CHANGES_MAX = 100_000;

    /** A generation that came. */
    @SuppressWarnings("ArrayRecordComponent") // read-only by agreement, never compared
    private record Generation(byte[] encoded, Header header, long position, long timeMillis) {}

    /** What came of a block, newest first, and what was there before. */
    private record Block(
            List<Generation> generations, @Nullable PlacedHeader before) {

        long have() {
            return before == null ? 0 : before.header().generation();
        }
    }

    private final Rocks rocks;
    private final StoreOptions options;
    private final Identity node;
    private final Authority authority;
    private final StoreTarget.Base base;
    private final TransferStream stream;
    private final IntegrityNodes nodes;
    private final StateMap stateMap;
    private final TakenLog log;
    private final IncomingRows rows;
    private final List<Block> batch = new ArrayList<>();
    private @Nullable BlockId lastBlock;
    private Hash rootNonce = LogEntry.START;
    /** The versions of the state map to be made, with their roots. */
    private final TreeMap<Long, Hash> versions = new TreeMap<>();
    /** What changes with each version; null once that is too much to be kept. */
    private @Nullable TreeMap<Long, List<StateEntry>> changes = new TreeMap<>();

    private int changeCount;

    Taking(
            Rocks rocks,
            StoreOptions options,
            Identity node,
            Authority authority,
            StoreTarget.Base base,
            TransferStream stream)
            throws StoreException {
        this.rocks = rocks;
        this.options = options;
        this.node = node;
        this.authority = authority;
        this.base = base;
        this.stream = stream;
        this.nodes = new IntegrityNodes(rocks, options.nodeCacheBytes());
        this.stateMap = new StateMap(rocks.db(), rocks.family(Column.STATE), options.stateCacheBytes());
        this.log = new TakenLog(
                rocks,
                authority,
                nodes,
                base.position(),
                base.timeMillis(),
                base.logHash(),
                base.authorityHash(),
                Snapshots.newestPlaced(rocks));
        this.rows = new IncomingRows(rocks, rocks.dir().resolve("incoming"));
    }

    void run() throws StoreException {
        stream.send(
                Type.WANTED,
                TransferProto.Wanted.newBuilder()
                        .setVersion(TransferStream.VERSION)
                        .setTree(Wire.bytes(authority.tree()))
                        .setPosition(base.position())
                        .setLogHash(Wire.bytes(base.logHash()))
                        .setStatePosition(base.root().position())
                        .setStateRoot(Wire.bytes(base.root().hash()))
                        .build()
                        .toByteArray());
        stream.flush();
        TransferProto.Offered offered = offered(stream.receive(Type.OFFERED));
        keepSnapshots();
        takeLog();
        Checkpoint theirs = log.verifyCheckpoint(offered.getCheckpoint().toByteArray());
        if (theirs.position() != log.position()
                || !theirs.logHash().equals(log.hash())
                || !theirs.authorityHash().equals(log.authorityHash())
                || theirs.timeMillis() != log.timeMillis()) {
            throw StoreException.corrupt("the log is not the one that the other node's checkpoint of position "
                    + theirs.position() + " covers");
        }
        Hash chain = ownChain();
        chooseVersions(theirs);
        takeBlocks();
        makeState();
        finish(theirs, chain, offered.hasOrder() ? offered.getOrder() : null);
        stream.report();
    }

    private TransferProto.Offered offered(byte[] encoded) throws StoreException {
        try {
            TransferProto.Offered offered = TransferProto.Offered.parseFrom(encoded);
            if (offered.getVersion() != TransferStream.VERSION) {
                throw StoreException.invalid(
                        "the source speaks version " + Integer.toUnsignedString(offered.getVersion())
                                + " of the transfer of stores; this program speaks " + TransferStream.VERSION);
            }
            rootNonce = Wire.hash(offered.getRootBlockNonce(), "nonce of the root block");
            stream.expect(Math.max(0, offered.getBlocks()), Math.max(0, offered.getSizeBytes()));
            return offered;
        } catch (InvalidProtocolBufferException e) {
            throw new StoreException(StoreException.Code.INVALID, "what is offered is not such a message", e);
        }
    }

    // ---- the log ----

    /** What was there before is known by its rows. */
    private void keepSnapshots() throws StoreException {
        if (base.position() == 0) {
            return;
        }
        rocks.scan(Column.META, Snapshots.ROW_PREFIX, Keys.after(Snapshots.ROW_PREFIX), (key, value) -> {
            byte[] entry = rocks.get(Column.LOG, Keys.log(Snapshots.position(value)));
            if (entry != null) {
                LogEntry begun = LogEntry.parse(entry);
                log.keepSnapshot(Snapshots.verify(begun, authority.tree(), authority), begun, value);
            }
            return true;
        });
    }

    private void takeLog() throws StoreException {
        Type type = stream.next();
        for (; type == Type.LOG_ENTRY; type = stream.next()) {
            log.take(stream.body(), rows);
        }
        for (; type == Type.SNAPSHOT_STATE; type = stream.next()) {
            log.takeState(stream.body());
        }
        if (type != Type.LOG_END) {
            throw TransferStream.unexpected(type);
        }
        if (log.position() == 0) {
            throw StoreException.corrupt("the log that came is empty");
        }
        log.rootDomain();
        rows.write();
    }

    /** The chain under which this node signs; DENIED when it may not keep the tree at the end of the log. */
    private Hash ownChain() throws StoreException {
        CryptoException refusal = null;
        List<WriteCapabilityChain> chains = authority.chainsOf(node.id());
        for (int i = chains.size() - 1; i >= 0; i--) {
            try {
                authority.checkRights(
                        node.id(),
                        chains.get(i).id(),
                        log.rootDomain().domain(),
                        Rights.NODE,
                        log.position(),
                        log.timeMillis());
                return chains.get(i).id();
            } catch (CryptoException e) {
                refusal = e;
            }
        }
        if (refusal != null) {
            throw Ledger.failure("this node, " + node.id(), refusal);
        }
        throw new StoreException(
                StoreException.Code.DENIED,
                "this node, " + node.id() + ", holds no capability in tree " + authority.tree()
                        + ": the owner has to grant it first");
    }

    /** Of the snapshots in force those whose state is not here yet, and the newest state. */
    private void chooseVersions(Checkpoint theirs) throws StoreException {
        for (PlacedSnapshot snapshot : log.snapshots().values()) {
            StateRoot root = snapshot.root();
            if (root == null) {
                throw StoreException.corrupt(
                        "the state of the snapshot at position " + snapshot.position() + " is withheld");
            }
            if (snapshot.position() > base.position()) {
                addVersion(root);
            }
        }
        addVersion(theirs.root());
        versions.remove(base.root().position(), base.root().hash());
        boolean later = versions.isEmpty() || versions.firstKey() > base.root().position();
        if (base.position() == 0 || !later) {
            changes = null;
        }
    }

    private void addVersion(StateRoot root) throws StoreException {
        Hash other = versions.putIfAbsent(root.position(), root.hash());
        if (other != null && !other.equals(root.hash())) {
            throw StoreException.corrupt("two states of the tree are told of position " + root.position());
        }
    }

    // ---- blocks ----

    private void takeBlocks() throws StoreException {
        while (true) {
            Type type = stream.next();
            if (type == Type.END) {
                return;
            }
            takeHeaders(type);
            announce();
            for (Block block : batch) {
                takePayload(block);
                stream.blockDone();
            }
            batch.clear();
        }
    }

    private void takeHeaders(Type first) throws StoreException {
        List<Generation> current = new ArrayList<>();
        long batchBytes = 0;
        long blockBytes = 0;
        for (Type type = first; type != Type.HEADERS_END; type = stream.next()) {
            if (type != Type.HEADER) {
                throw TransferStream.unexpected(type);
            }
            byte[] encoded = stream.body();
            HeaderRecord record = HeaderRecord.parse(encoded);
            BlockId id = record.header().block();
            BlockId last = lastBlock;
            if (last == null || !id.equals(last)) {
                if (last != null && id.compareTo(last) < 0) {
                    throw StoreException.corrupt("block " + id + " comes out of order");
                }
                endBlock(current);
                current = new ArrayList<>();
                batchBytes += blockBytes;
                blockBytes = 0;
                lastBlock = id;
            } else if (current.isEmpty()) {
                throw StoreException.corrupt("block " + id + " comes twice");
            }
            blockBytes += encoded.length;
            if (batchBytes >= TransferStream.BATCH_SIZE_BYTES
                    || batch.size() >= TransferStream.BATCH_BLOCKS_MAX
                    || blockBytes > TransferStream.BLOCK_HEADERS_SIZE_MAX) {
                throw StoreException.invalid("the other side sends too many headers at once");
            }
            current.add(verify(encoded, record, current.isEmpty() ? null : current.get(current.size() - 1)));
        }
        endBlock(current);
        if (batch.isEmpty()) {
            throw StoreException.invalid("the other side sends an empty batch");
        }
    }

    /** A header by itself, its commit, and the one that follows it where that came. */
    private Generation verify(byte[] encoded, HeaderRecord record, @Nullable Generation after) throws StoreException {
        Header header = record.header();
        String what = "header of block " + header.block() + " generation " + header.generation();
        CommitAt commit = log.commit(record.position());
        CommitBody body = commit.body();
        if (!HeadersTree.proves(body.headersRoot(), body.headerCount(), record.index(), header.hash(), record.path())) {
            throw StoreException.corrupt(what + " is not part of the commit at position " + record.position());
        }
        if (!header.idIsDerived(authority.tree())) {
            throw StoreException.corrupt(what + " has an id that is not that of its domain, creator and nonce");
        }
        if (after != null
                && (header.generation() >= after.header.generation() || record.position() >= after.position)) {
            throw StoreException.corrupt(what + " comes out of order");
        }
        log.verifier().verifyAuthority(body, header, record.position(), commit.timeMillis());
        if (header.generation() == 1) {
            log.verifier().verifySuccession(body, header, null);
        }
        if (after != null) {
            verifySuccession(after, header);
        }
        return new Generation(encoded, header, record.position(), commit.timeMillis());
    }

    private void verifySuccession(Generation after, Header before) throws StoreException {
        Header header = after.header;
        boolean next = header.generation() == before.generation() + 1;
        if (before.tombstone() || next && !header.hasPredecessor(before.hash())) {
            throw StoreException.corrupt("header of block " + header.block() + " generation " + header.generation()
                    + " does not follow generation " + before.generation());
        }
        if (next) {
            log.verifier().verifySuccession(log.commit(after.position).body(), header, before);
        }
    }

    private void endBlock(List<Generation> generations) throws StoreException {
        if (generations.isEmpty()) {
            return;
        }
        Generation oldest = generations.get(generations.size() - 1);
        BlockId id = oldest.header.block();
        PlacedHeader before = before(id);
        if (before != null) {
            if (oldest.header.generation() <= before.header().generation()) {
                throw StoreException.corrupt("block " + id + " generation " + oldest.header.generation()
                        + " comes, which is not newer than the one that is here");
            }
            verifySuccession(oldest, before.header());
        }
        if (id.equals(log.rootDomain().rootBlock())) {
            rootNonce = oldest.header.nonce();
        }
        Block block = new Block(generations, before);
        batch.add(block);
        collectChanges(generations);
    }

    /** The newest header that this store has of a block; null when there is none. */
    private @Nullable PlacedHeader before(BlockId id) throws StoreException {
        StateEntry entry = base.position() == 0 ? null : stateMap.get(base.root(), id);
        if (entry == null) {
            return null;
        }
        byte[] encoded = rocks.get(Column.HEADERS, Keys.header(id, entry.generation()));
        HeaderRecord record = encoded == null ? null : HeaderRecord.parse(encoded);
        byte[] written = record == null ? null : rocks.get(Column.LOG, Keys.log(record.position()));
        if (record == null || written == null || !record.header().hash().equals(entry.headerHash())) {
            throw StoreException.corrupt("the newest header of block " + id + " that is here is damaged");
        }
        LogEntry commit = LogEntry.parse(written);
        return new PlacedHeader(record.header(), record.position(), commit.timeMillis(), node.id());
    }

    private void collectChanges(List<Generation> generations) {
        TreeMap<Long, List<StateEntry>> kept = changes;
        if (kept == null) {
            return;
        }
        long behind = Long.MAX_VALUE;
        for (Generation generation : generations) {
            // in the first version that is not before it, unless the next generation is in that one too
            Long version = versions.ceilingKey(generation.position);
            if (version != null && version < behind) {
                Header header = generation.header;
                kept.computeIfAbsent(version, v -> new ArrayList<>())
                        .add(new StateEntry(header.block(), header.generation(), header.hash()));
                changeCount++;
                behind = version;
            }
        }
        if (changeCount > CHANGES_MAX) {
            changes = null;
        }
    }

    /** Before any of it is stored, what is about to come is noted where it would have to be undone; and the other side is told what is here. */
    private void announce() throws StoreException {
        if (base.position() == 0) {
            return;
        }
        byte[] have = new byte[batch.size() * Long.BYTES];
        try (WriteBatch notes = new WriteBatch()) {
            for (int i = 0; i < batch.size(); i++) {
                Block block = batch.get(i);
                Keys.putU64(have, i * Long.BYTES, block.have());
                Takeover.announce(rocks, notes, block.generations.get(0).header.block(), block.have());
            }
            rocks.write(notes);
            rocks.syncWal();
        } catch (RocksDBException e) {
            throw rocks.failure("note what comes", e);
        }
        stream.send(Type.HAVE, have);
        stream.flush();
    }

    private void takePayload(Block block) throws StoreException {
        for (Generation generation : block.generations) {
            Header header = generation.header;
            rows.put(Column.HEADERS, Keys.header(header.block(), header.generation()), generation.encoded);
        }
        new Payloads(block)
                .run(block.generations.stream().map(Generation::header).toList());
        rows.endBlock();
        recordGarbage(block);
    }

    /** What each kept generation has and the next kept one has not: what a collector needs to remove it one day. */
    private void recordGarbage(Block block) throws StoreException {
        if (block.generations.size() == 1 && block.before == null) {
            return;
        }
        rows.write(); // trees are read from the database
        for (int i = 0; i < block.generations.size(); i++) {
            Generation now = block.generations.get(i);
            PlacedHeader old = block.before;
            if (i + 1 < block.generations.size()) {
                Generation older = block.generations.get(i + 1);
                old = new PlacedHeader(older.header, older.position, older.timeMillis, node.id());
            }
            if (old != null) {
                Garbage.Builder garbage = Ledger.garbage(old);
                new Superseded(nodes, garbage).record(old.header(), now.header);
                rows.put(
                        Column.GARBAGE, Keys.garbage(now.position, now.header.block()), garbage.encode(now.timeMillis));
            }
        }
    }

    /** Takes what comes of one block. */
    private final class Payloads extends PayloadWalk {

        private final BlockId block;
        private final @Nullable Header before;
        private final Payload here;

        Payloads(Block of) throws StoreException {
            super(of.have());
            block = of.generations.get(0).header.block();
            before = of.before == null ? null : of.before.header();
            here = before == null ? Payload.empty(nodes, block) : Payload.of(nodes, before);
        }

        @Override
        byte[] top(int level, Header header) throws StoreException {
            byte[] node = stream.receive(Type.NODE);
            if (!IntegrityNode.isWellFormed(node)) {
                throw StoreException.corrupt(
                        "the top node of block " + block + " generation " + header.generation() + " is malformed");
            }
            rows.put(Column.NODES, Keys.node(block, level, 0, header.payloadGeneration()), node);
            return node;
        }

        @Override
        byte[] node(int level, long index, Named named) throws StoreException {
            byte[] node = stream.receive(Type.NODE);
            if (!IntegrityNode.isNode(level, node, named.entry().hash())) {
                throw StoreException.corrupt("integrity node " + level + "/" + index + " of block " + block
                        + " is not the one that its parent names");
            }
            rows.put(Column.NODES, Keys.node(block, level, index, named.entry().generation()), node);
            return node;
        }

        @Override
        void sector(long index, Named named) throws StoreException {
            byte[] ciphertext = stream.receive(Type.SECTOR);
            boolean fits = ciphertext.length == named.sectorSize() + SectorCipher.OVERHEAD
                    && IntegrityNode.isSector(ciphertext, named.entry().hash());
            if (!fits) {
                throw StoreException.corrupt(
                        "sector " + index + " of block " + block + " is not the one that its tree names");
            }
            rows.putSector(block, index, named.entry().generation(), ciphertext);
        }

        @Override
        void taken(int level, long index, @Nullable Named named, Header header) throws StoreException {
            Entry expected = named == null ? nodes.top(header) : named.entry();
            int sectorSize = named == null ? header.sectorSize() : named.sectorSize();
            boolean isHere = before != null
                    && before.sectorSize() == sectorSize
                    && here.entry(level, index).equals(expected);
            if (!isHere) {
                throw StoreException.corrupt("block " + block + " takes over what it has not had");
            }
        }
    }

    // ---- the end ----

    private void makeState() throws StoreException {
        rows.write();
        TreeMap<Long, List<StateEntry>> kept = changes;
        if (kept != null) {
            applyChanges(kept);
        } else if (base.position() == 0) {
            buildState(rows::put);
        } else {
            // What does not verify must not be among what is here: the first time nothing is written.
            buildState((column, key, value) -> {});
            buildState(rows::put);
        }
    }

    private void applyChanges(TreeMap<Long, List<StateEntry>> kept) throws StoreException {
        StateRoot root = base.root();
        for (Map.Entry<Long, Hash> version : versions.entrySet()) {
            try (WriteBatch made = new WriteBatch()) {
                root = stateMap.apply(
                        root,
                        version.getKey(),
                        kept.getOrDefault(version.getKey(), List.of()),
                        made,
                        rocks.family(Column.GARBAGE));
                checkRoot(version, root.hash());
                rocks.writeUnlogged(made);
            }
        }
    }

    @FunctionalInterface
    private interface RowConsumer {
        void put(Column column, byte[] key, byte[] value) throws StoreException;
    }

    private void buildState(RowConsumer consumer) throws StoreException {
        long[] positions = versions.keySet().stream().mapToLong(Long::longValue).toArray();
        Map<Long, List<byte[]>> superseded = new TreeMap<>();
        try (StateMapBuilder builder = new StateMapBuilder(rocks, positions, (path, position, node, isSecond) -> {
            consumer.put(Column.STATE, StateMap.nodeKey(path, position), node);
            if (isSecond) {
                superseded.computeIfAbsent(position, p -> new ArrayList<>()).add(path);
            }
        })) {
            List<Hash> roots = builder.build();
            int i = 0;
            for (Map.Entry<Long, Hash> version : versions.entrySet()) {
                checkRoot(version, roots.get(i++));
            }
        }
        for (Map.Entry<Long, List<byte[]>> version : superseded.entrySet()) {
            consumer.put(
                    Column.GARBAGE, Garbage.stateKey(version.getKey()), Garbage.encodeStatePaths(version.getValue()));
        }
    }

    private static void checkRoot(Map.Entry<Long, Hash> version, Hash made) throws StoreException {
        if (!made.equals(version.getValue())) {
            throw StoreException.corrupt("what came does not give the state of the tree at position " + version.getKey()
                    + ": something was withheld");
        }
    }

    /** All that came is on the device, then counts. */
    private void finish(Checkpoint theirs, Hash chain, TransferProto.@Nullable OrderMark order) throws StoreException {
        rows.flush();
        Checkpoint own = new Checkpoint(
                theirs.tree(),
                theirs.position(),
                theirs.timeMillis(),
                theirs.logHash(),
                theirs.stateRoot(),
                node.id(),
                chain,
                theirs.authorityHash());
        boolean fresh = base.position() == 0;
        if (fresh) {
            writeAnchor(own); // a store without one would not open; one that is incomplete does not either
        }
        try (WriteBatch last = new WriteBatch()) {
            last.put(
                    rocks.family(Column.META),
                    Ledger.META_CHECKPOINT,
                    node.sign(SignatureKind.CHECKPOINT, own.encode()).toBytes());
            if (fresh) {
                last.put(rocks.family(Column.META), Ledger.META_FORMAT, Ledger.FORMAT);
                last.put(rocks.family(Column.META), Ledger.META_TREE, own.tree().toBytes());
                last.put(rocks.family(Column.META), Ledger.META_ROOT_NONCE, rootNonce.toBytes());
            } else {
                last.deleteRange(rocks.family(Column.META), Snapshots.ROW_PREFIX, Keys.after(Snapshots.ROW_PREFIX));
            }
            for (PlacedSnapshot snapshot : log.snapshots().values()) {
                last.put(
                        rocks.family(Column.META),
                        Snapshots.rowKey(snapshot.body().id()),
                        Snapshots.row(snapshot.position(), snapshot.told()));
            }
            if (log.newestPlaced() > 0) {
                last.put(rocks.family(Column.META), Snapshots.NEWEST_PLACED, Keys.u64(log.newestPlaced()));
            }
            if (order != null) {
                OrderMarks.put(rocks, last, own.position(), new Order(order.getTerm(), order.getIndex(), 0));
            }
            Takeover.end(rocks, last);
            rocks.write(last);
            rocks.syncWal();
        } catch (RocksDBException e) {
            throw rocks.failure("take a store over", e);
        }
        if (!fresh) {
            writeAnchor(own); // the one of before holds for both states
        }
    }

    private void writeAnchor(Checkpoint own) throws StoreException {
        try (AnchorFile file = Ledger.openAnchor(rocks.dir(), options, node)) {
            if (file == null) {
                return;
            }
            Anchor before = file.read();
            long sequence = before == null ? 0 : before.sequence();
            for (int slot = 0; slot < 2; slot++) {
                file.write(new Anchor(
                        own.tree(), ++sequence, own.position(), own.stateRoot(), own.position(), own.logHash()));
            }
        }
    }

    @Override
    public void close() {
        rows.close();
        stateMap.close();
    }
}
