package blocktree.crypto;

import blocktree.crypto.CryptoException.Denial;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.Deque;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.locks.ReadWriteLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * Who may do what in a tree: the authority records of its log, replayed in order (docs/format.md, section 2). Each record is verified
 * when it is applied and changes nothing when it is refused. Questions name a log position and log time, so what was true when an
 * old commit was made can still be asked after a revocation, a rotation or a new key epoch; a verifier's own clock is never used.
 *
 * <p>Signatures are verified once, when a record is applied; a question costs a few lookups. Thread-safe.
 */
public final class Authority {

    /** Most domains above one another. */
    public static final int DOMAIN_DEPTH_MAX = 64;

    /** Most readcaps kept for one reader of one domain; a later one does not displace a good one that came before at once. */
    private static final int READCAPS_KEPT = 4;

    private static final long STILL = Long.MAX_VALUE;

    /** A root principal from one log position to before another. */
    private record RootTerm(PrincipalId principal, long from, long to, long retiredUntilMillis) {

        boolean inForce(long position) {
            return from <= position && position < to;
        }
    }

    private record PlacedEpoch(EpochRecord epoch, long position) {}

    private static final class Domain {
        final DomainRecord record;
        final @Nullable Domain parent;
        final int depth;
        final long position;
        final List<PlacedEpoch> epochs = new ArrayList<>();

        Domain(DomainRecord record, @Nullable Domain parent, long position) {
            this.record = record;
            this.parent = parent;
            this.depth = parent == null ? 1 : parent.depth + 1;
            this.position = position;
        }

        /** The newest at {@code position}, or null. */
        @Nullable
        EpochRecord newest(long atPosition) {
            for (int i = epochs.size() - 1; i >= 0; i--) {
                if (epochs.get(i).position <= atPosition) {
                    return epochs.get(i).epoch;
                }
            }
            return null;
        }

        int newestNumber() {
            return epochs.size();
        }
    }

    private record PlacedChain(WriteCapabilityChain chain, List<Hash> linkIds, long position) {}

    /** A capability that some chain in the log holds: since when, and the issuers of it and of the links above it. */
    private record KnownLink(long position, Set<PrincipalId> revokers) {}

    /** Counts against every chain through the capability when by a root, else where the signer issued it or a link above it. */
    private record PlacedRevocation(PrincipalId signer, boolean byRoot, long position) {}

    private record Reader(PrincipalId recipient, DomainId domain) {}

    private final TreeId tree;
    private final ReadWriteLock lock = new ReentrantReadWriteLock();

    // All below is guarded by lock.
    private final Map<PrincipalId, PrincipalKeys> principals = new HashMap<>();
    private final List<RootTerm> rootTerms = new ArrayList<>();
    private final Map<DomainId, Domain> domains = new HashMap<>();
    private final Map<Hash, PlacedChain> chains = new HashMap<>();
    private final Map<PrincipalId, List<PlacedChain>> chainsBySubject = new LinkedHashMap<>();
    private final Map<Hash, KnownLink> links = new HashMap<>();
    private final Map<Hash, List<PlacedRevocation>> revocations = new HashMap<>();
    private final Map<Reader, Deque<ReadCapability>> readcaps = new HashMap<>();
    private final Map<PrincipalId, NodeRecord> nodes = new HashMap<>(); // the newest of each signer
    private @Nullable Domain rootDomain;
    private int rotations;
    private Hash lastRotation;
    private long lastPosition;
    private long lastTimeMillis;

    /** Of a tree whose genesis record is applied first. */
    public Authority(TreeId tree) {
        this.tree = tree;
        this.lastRotation = Hash.of(tree.toBytes());
    }

    /** As {@link #apply(RecordKind, byte[], long, long)}, for the kind number of a log entry. */
    public void apply(int kind, byte[] payload, long position, long timeMillis) throws CryptoException {
        apply(RecordKind.of(kind), payload, position, timeMillis);
    }

    /**
     * Verifies a record and takes it up. Throws, and changes nothing, when the record is malformed, out of order, not signed as it
     * says, or not allowed to its signer at this position and time.
     */
    public void apply(RecordKind kind, byte[] payload, long position, long timeMillis) throws CryptoException {
        lock.writeLock().lock();
        try {
            prepare(kind, payload, position, timeMillis).run();
            lastPosition = position;
            lastTimeMillis = timeMillis;
        } finally {
            lock.writeLock().unlock();
        }
    }

    /** Throws what {@link #apply} would throw, and changes nothing in any case: for a record that is yet to be written to the log. */
    public void verify(RecordKind kind, byte[] payload, long position, long timeMillis) throws CryptoException {
        lock.readLock().lock();
        try {
            prepare(kind, payload, position, timeMillis);
        } finally {
            lock.readLock().unlock();
        }
    }

    private Runnable prepare(RecordKind kind, byte[] payload, long position, long timeMillis) throws CryptoException {
        if (position <= lastPosition || timeMillis < lastTimeMillis) {
            throw CryptoException.outOfOrder("record at position " + position + ", time " + timeMillis
                    + " after position " + lastPosition + ", time " + lastTimeMillis);
        }
        if (rootTerms.isEmpty() != (kind == RecordKind.GENESIS)) {
            throw CryptoException.outOfOrder("the genesis record comes first, and once");
        }
        return switch (kind) {
            case GENESIS -> genesis(payload, position);
            case DOMAIN -> domain(payload, position, timeMillis);
            case EPOCH -> epoch(payload, position, timeMillis);
            case WRITECAP_CHAIN -> chain(payload, position, timeMillis);
            case READCAP -> readcap(payload, position, timeMillis);
            case REVOCATION -> revocation(payload, position);
            case ROTATION -> rotation(payload, position);
            case NODE -> node(payload, position, timeMillis);
        };
    }

    private Runnable genesis(byte[] payload, long position) throws CryptoException {
        GenesisRecord genesis = GenesisRecord.parse(payload);
        checkTree(genesis.tree());
        return () -> genesis.roots().forEach(root -> beginTerm(root, position));
    }

    private void beginTerm(PrincipalKeys root, long position) {
        principals.put(root.id(), root);
        rootTerms.add(new RootTerm(root.id(), position, STILL, 0));
    }

    private Runnable domain(byte[] payload, long position, long timeMillis) throws CryptoException {
        DomainRecord record = DomainRecord.parse(payload);
        checkTree(record.tree());
        verifySignature(record.envelope(), SignatureKind.DOMAIN);
        if (domains.containsKey(record.domain())) {
            throw CryptoException.outOfOrder("domain " + record.domain() + " is made already");
        }
        DomainId parentId = record.parent();
        if (parentId == null) {
            if (rootDomain != null) {
                throw CryptoException.outOfOrder("the root domain is made already");
            }
            if (!isRoot(record.creator(), position)) {
                throw CryptoException.denied(
                        Denial.NOT_ROOT, "only a root principal makes the root domain, not " + record.creator());
            }
            Domain made = new Domain(record, null, position);
            return () -> {
                rootDomain = made;
                domains.put(record.domain(), made);
            };
        }
        Domain parent = known(parentId);
        Domain made = new Domain(record, parent, position);
        if (made.depth > DOMAIN_DEPTH_MAX) {
            throw new CryptoException(
                    CryptoException.Code.TOO_MANY, "more than " + DOMAIN_DEPTH_MAX + " domains above one another");
        }
        checkHolds(record.creator(), parent, List.of(Rights.DELEGATE), position, timeMillis);
        return () -> domains.put(record.domain(), made);
    }

    private Runnable epoch(byte[] payload, long position, long timeMillis) throws CryptoException {
        EpochRecord record = EpochRecord.parse(payload);
        checkTree(record.tree());
        verifySignature(record.envelope(), SignatureKind.EPOCH);
        Domain domain = known(record.domain());
        EpochRecord before = domain.newest(position);
        int expected = before == null ? 1 : before.epoch() + 1;
        if (record.epoch() != expected) {
            throw CryptoException.outOfOrder(
                    "epoch " + record.epoch() + " of domain " + record.domain() + ", expected " + expected);
        }
        if (before != null && record.minEpoch() < before.minEpoch()) {
            throw CryptoException.outOfOrder(
                    "minimum epoch falls from " + before.minEpoch() + " to " + record.minEpoch());
        }
        if (domain.record.inherits() != (record.parentEpoch() != 0)) {
            throw CryptoException.malformed("a key for the parent is there when the domain inherits, and only then");
        }
        if (domain.parent != null && record.parentEpoch() > domain.parent.newestNumber()) {
            throw CryptoException.denied(Denial.UNKNOWN_EPOCH, "parent has no epoch " + record.parentEpoch());
        }
        checkHolds(record.envelope().signer(), domain, List.of(Rights.REKEY), position, timeMillis);
        return () -> domain.epochs.add(new PlacedEpoch(record, position));
    }

    private Runnable chain(byte[] payload, long position, long timeMillis) throws CryptoException {
        WriteCapabilityChain chain = WriteCapabilityChain.parse(payload);
        if (chains.containsKey(chain.id())) {
            throw CryptoException.outOfOrder("chain " + chain.id() + " is known already");
        }
        PlacedChain placed = checkLinks(chain, position);
        List<Hash> linkIds = placed.linkIds;
        checkStanding(placed, position, timeMillis, false);
        return () -> {
            chains.put(chain.id(), placed);
            chainsBySubject
                    .computeIfAbsent(chain.subject().id(), id -> new ArrayList<>())
                    .add(placed);
            Set<PrincipalId> revokers = new HashSet<>();
            for (int i = 0; i < linkIds.size(); i++) {
                WriteCapability link = chain.links().get(i);
                principals.putIfAbsent(link.subject().id(), link.subject());
                revokers.add(link.issuer());
                links.computeIfAbsent(linkIds.get(i), id -> new KnownLink(position, new HashSet<>()))
                        .revokers
                        .addAll(revokers);
            }
        };
    }

    /** What holds for a chain whatever the time. */
    private PlacedChain checkLinks(WriteCapabilityChain chain, long position) throws CryptoException {
        List<Hash> linkIds = new ArrayList<>();
        WriteCapability above = null;
        for (WriteCapability link : chain.links()) {
            checkLink(link, above);
            linkIds.add(link.envelopeId());
            above = link;
        }
        return new PlacedChain(chain, List.copyOf(linkIds), position);
    }

    /** What holds for a link whatever the time: signature, issuer, rights, domain. */
    private void checkLink(WriteCapability link, @Nullable WriteCapability above) throws CryptoException {
        checkTree(link.tree());
        Domain domain = known(link.domain());
        PrincipalKeys issuer;
        if (above == null) {
            issuer = principals.get(link.issuer());
            if (issuer == null || rootTerms.stream().noneMatch(term -> term.principal.equals(link.issuer()))) {
                throw CryptoException.denied(
                        Denial.NOT_ROOT, "first link is issued by " + link.issuer() + ", never a root principal");
            }
        } else {
            issuer = above.subject();
            if (!issuer.id().equals(link.issuer())) {
                throw CryptoException.denied(
                        Denial.BROKEN_CHAIN,
                        "link is issued by " + link.issuer() + ", the link before grants " + issuer.id());
            }
            if (!above.rights().contains(Rights.DELEGATE)) {
                throw CryptoException.denied(Denial.DELEGATE_MISSING, issuer.id() + " may not delegate");
            }
            if (!above.rights().contains(link.rights())) {
                throw CryptoException.denied(
                        Denial.RIGHTS_EXCEEDED,
                        issuer.id() + " holds " + above.rights() + " and grants " + link.rights());
            }
            if (!covers(above.domain(), domain)) {
                throw CryptoException.denied(
                        Denial.OTHER_DOMAIN, "link for domain " + link.domain() + " under one for " + above.domain());
            }
        }
        link.envelope().verify(SignatureKind.WRITECAP, issuer);
    }

    /** What depends on position and time: the first issuer a root, no link revoked, none expired or (when asked) yet to begin. */
    private void checkStanding(PlacedChain placed, long position, long timeMillis, boolean mustHaveBegun)
            throws CryptoException {
        List<WriteCapability> chain = placed.chain.links();
        List<PrincipalId> issuers = new ArrayList<>();
        for (int i = 0; i < chain.size(); i++) {
            WriteCapability link = chain.get(i);
            Hash linkId = placed.linkIds.get(i);
            if (i == 0 && !countsAsRoot(link.issuer(), linkId, position, timeMillis)) {
                throw CryptoException.denied(
                        Denial.NOT_ROOT,
                        "first link is issued by " + link.issuer() + ", no root principal at position " + position);
            }
            issuers.add(link.issuer());
            for (PlacedRevocation revocation : revocations.getOrDefault(linkId, List.of())) {
                if (revocation.position <= position && (revocation.byRoot || issuers.contains(revocation.signer))) {
                    throw CryptoException.denied(
                            Denial.REVOKED, "capability " + linkId + " is revoked at position " + revocation.position);
                }
            }
            if (timeMillis >= link.notAfterMillis()) {
                throw CryptoException.denied(
                        Denial.EXPIRED,
                        "capability " + linkId + " ended at " + link.notAfterMillis() + ", time is " + timeMillis);
            }
            if (mustHaveBegun && timeMillis < link.notBeforeMillis()) {
                throw CryptoException.denied(
                        Denial.NOT_YET_VALID,
                        "capability " + linkId + " begins at " + link.notBeforeMillis() + ", time is " + timeMillis);
            }
        }
    }

    /** In force, or retired with grace: then only for links that the log held before, lest a stolen old root key make new ones. */
    private boolean countsAsRoot(PrincipalId issuer, Hash linkId, long position, long timeMillis) {
        KnownLink known = links.get(linkId);
        for (RootTerm term : rootTerms) {
            if (term.principal.equals(issuer)
                    && (term.inForce(position)
                            || term.to <= position
                                    && timeMillis < term.retiredUntilMillis
                                    && known != null
                                    && known.position < term.to)) {
                return true;
            }
        }
        return false;
    }

    private Runnable readcap(byte[] payload, long position, long timeMillis) throws CryptoException {
        ReadCapability record = ReadCapability.parse(payload);
        checkTree(record.tree());
        verifySignature(record.envelope(), SignatureKind.READCAP);
        Domain domain = known(record.domain());
        if (record.epoch() > domain.newestNumber()) {
            throw CryptoException.denied(
                    Denial.UNKNOWN_EPOCH, "domain " + record.domain() + " has no epoch " + record.epoch());
        }
        checkHolds(record.envelope().signer(), domain, List.of(Rights.REKEY, Rights.DELEGATE), position, timeMillis);
        return () -> {
            Deque<ReadCapability> kept =
                    readcaps.computeIfAbsent(new Reader(record.recipient(), record.domain()), r -> new ArrayDeque<>());
            kept.addFirst(record);
            if (kept.size() > READCAPS_KEPT) {
                kept.removeLast();
            }
        };
    }

    private Runnable revocation(byte[] payload, long position) throws CryptoException {
        Revocation record = Revocation.parse(payload);
        checkTree(record.tree());
        verifySignature(record.envelope(), SignatureKind.REVOCATION);
        PrincipalId signer = record.envelope().signer();
        List<PlacedRevocation> before = revocations.getOrDefault(record.revoked(), List.of());
        if (before.stream().anyMatch(revocation -> revocation.signer.equals(signer))) {
            throw CryptoException.outOfOrder(
                    "capability " + record.revoked() + " is revoked by " + signer + " already");
        }
        boolean byRoot = isRoot(signer, position);
        KnownLink link = links.get(record.revoked());
        if (!byRoot && rootTerms.stream().anyMatch(term -> term.principal.equals(signer))) {
            throw CryptoException.denied(Denial.NOT_REVOKER, signer + " is a root principal no longer in force");
        }
        if (!byRoot && (link == null || !link.revokers.contains(signer))) {
            throw CryptoException.denied(
                    Denial.NOT_REVOKER,
                    signer + " is neither a root principal nor issued capability " + record.revoked()
                            + " or one above it");
        }
        return () -> revocations
                .computeIfAbsent(record.revoked(), id -> new ArrayList<>())
                .add(new PlacedRevocation(signer, byRoot, position));
    }

    private Runnable rotation(byte[] payload, long position) throws CryptoException {
        RotationRecord record = RotationRecord.parse(payload);
        checkTree(record.tree());
        verifySignature(record.envelope(), SignatureKind.ROTATION);
        PrincipalId signer = record.envelope().signer();
        if (!isRoot(signer, position)) {
            throw CryptoException.denied(Denial.NOT_ROOT, "rotation is signed by " + signer + ", no root principal");
        }
        if (record.sequence() != rotations + 1 || !record.previous().equals(lastRotation)) {
            throw CryptoException.outOfOrder(
                    "rotation " + record.sequence() + " does not follow rotation " + rotations);
        }
        return () -> {
            rotations++;
            lastRotation = record.envelopeId();
            Set<PrincipalId> arriving = new HashSet<>();
            record.roots().forEach(root -> arriving.add(root.id()));
            for (int i = 0; i < rootTerms.size(); i++) {
                RootTerm term = rootTerms.get(i);
                if (term.to == STILL && !arriving.remove(term.principal)) {
                    rootTerms.set(i, new RootTerm(term.principal, term.from, position, record.retiredUntilMillis()));
                }
            }
            for (PrincipalKeys root : record.roots()) {
                if (arriving.contains(root.id())) {
                    beginTerm(root, position);
                }
            }
        };
    }

    private Runnable node(byte[] payload, long position, long timeMillis) throws CryptoException {
        NodeRecord record = NodeRecord.parse(payload);
        checkTree(record.tree());
        verifySignature(record.envelope(), SignatureKind.NODE);
        NodeRecord before = nodes.get(record.node());
        if (before != null && record.sequence() <= before.sequence()) {
            throw CryptoException.outOfOrder("node record " + record.sequence() + " of " + record.node()
                    + " after its record " + before.sequence());
        }
        checkHoldsByChain(record.node(), madeRootDomain(), List.of(Rights.NODE), position, timeMillis);
        return () -> nodes.put(record.node(), record);
    }

    private void checkTree(TreeId named) throws CryptoException {
        if (!named.equals(tree)) {
            throw CryptoException.outOfOrder("record of tree " + named + " in tree " + tree);
        }
    }

    private void verifySignature(SignedEnvelope envelope, SignatureKind kind) throws CryptoException {
        PrincipalKeys keys = principals.get(envelope.signer());
        if (keys == null) {
            throw CryptoException.denied(Denial.UNKNOWN_PRINCIPAL, "nothing is known of signer " + envelope.signer());
        }
        envelope.verify(kind, keys);
    }

    private Domain known(DomainId id) throws CryptoException {
        Domain domain = domains.get(id);
        if (domain == null) {
            throw CryptoException.denied(Denial.UNKNOWN_DOMAIN, "no record makes domain " + id);
        }
        return domain;
    }

    private Domain madeRootDomain() throws CryptoException {
        Domain made = rootDomain;
        if (made == null) {
            throw CryptoException.denied(Denial.UNKNOWN_DOMAIN, "the root domain is not made yet");
        }
        return made;
    }

    private boolean isRoot(PrincipalId principal, long position) {
        return rootTerms.stream().anyMatch(term -> term.principal.equals(principal) && term.inForce(position));
    }

    /** Whether authority in {@code over} is authority in {@code domain}. */
    private static boolean covers(DomainId over, Domain domain) {
        for (Domain d = domain; d != null; d = d.record.inherits() ? d.parent : null) {
            if (d.record.domain().equals(over)) {
                return true;
            }
        }
        return false;
    }

    /** Root principals hold every right everywhere; others one of {@code anyOf} through a chain that the log holds. */
    private void checkHolds(PrincipalId who, Domain domain, List<Rights> anyOf, long position, long timeMillis)
            throws CryptoException {
        if (!isRoot(who, position)) {
            checkHoldsByChain(who, domain, anyOf, position, timeMillis);
        }
    }

    /** As {@link #checkHolds}, but a root principal needs a chain like others. */
    private void checkHoldsByChain(PrincipalId who, Domain domain, List<Rights> anyOf, long position, long timeMillis)
            throws CryptoException {
        List<CryptoException> reasons = new ArrayList<>();
        for (PlacedChain placed : chainsBySubject.getOrDefault(who, List.of())) {
            try {
                for (Rights needed : anyOf) {
                    if (placed.chain.last().rights().contains(needed)
                            && covers(placed.chain.last().domain(), domain)) {
                        checkStanding(placed, position, timeMillis, true);
                        return;
                    }
                }
            } catch (CryptoException e) {
                reasons.add(e);
            }
        }
        CryptoException refusal = CryptoException.denied(
                Denial.NO_CAPABILITY,
                who + " holds no capability for " + anyOf + " in domain " + domain.record.domain());
        reasons.forEach(refusal::addSuppressed);
        throw refusal;
    }

    /**
     * Whether {@code writer} could change {@code domain} under key epoch {@code epoch} through {@code chain}, at a log position and its
     * log time, now or long ago. Returns the writer's keys, to verify the signature with; throws DENIED with a reason when not.
     */
    public PrincipalKeys check(
            PrincipalId writer, Hash chain, DomainId domain, int epoch, Rights needed, long position, long timeMillis)
            throws CryptoException {
        lock.readLock().lock();
        try {
            PrincipalKeys keys = checkRights(writer, chain, domain, needed, position, timeMillis);
            EpochRecord newest = known(domain).newest(position);
            if (newest == null || epoch < 1 || epoch > newest.epoch()) {
                throw CryptoException.denied(
                        Denial.UNKNOWN_EPOCH,
                        "domain " + domain + " has no epoch " + epoch + " at position " + position);
            }
            if (epoch < newest.minEpoch()) {
                throw CryptoException.denied(
                        Denial.EPOCH_BELOW_MINIMUM,
                        "epoch " + epoch + " of domain " + domain + " is below the minimum " + newest.minEpoch());
            }
            return keys;
        } finally {
            lock.readLock().unlock();
        }
    }

    /** As {@link #check}, for what is signed without a key epoch, such as a checkpoint. */
    public PrincipalKeys checkRights(
            PrincipalId writer, Hash chain, DomainId domain, Rights needed, long position, long timeMillis)
            throws CryptoException {
        lock.readLock().lock();
        try {
            PlacedChain placed = chains.get(chain);
            if (placed == null || placed.position > position) {
                throw CryptoException.denied(
                        Denial.UNKNOWN_CHAIN, "no chain " + chain + " in the log at position " + position);
            }
            PrincipalKeys subject = placed.chain.subject();
            if (!subject.id().equals(writer)) {
                throw CryptoException.denied(
                        Denial.OTHER_SUBJECT, "chain " + chain + " is for " + subject.id() + ", not " + writer);
            }
            checkGrants(placed, domain, needed, position, timeMillis);
            return subject;
        } finally {
            lock.readLock().unlock();
        }
    }

    /**
     * Whether the subject of {@code chain} may run a node: it holds {@link Rights#NODE} in the root domain, after the last record and
     * at log time {@code timeMillis}. For a chain that the log holds, and for one that it does not hold yet, whose links are then
     * verified here. Throws DENIED with a reason, or BAD_SIGNATURE, when not.
     */
    public void checkNode(WriteCapabilityChain chain, long timeMillis) throws CryptoException {
        lock.readLock().lock();
        try {
            TreeId named = chain.last().tree();
            if (!named.equals(tree)) {
                throw CryptoException.denied(Denial.OTHER_TREE, "chain is for tree " + named + ", this is " + tree);
            }
            Domain top = madeRootDomain();
            PlacedChain placed = chains.get(chain.id());
            if (placed == null) {
                placed = checkLinks(chain, lastPosition);
            }
            checkGrants(placed, top.record.domain(), Rights.NODE, lastPosition, timeMillis);
        } finally {
            lock.readLock().unlock();
        }
    }

    private void checkGrants(PlacedChain placed, DomainId domain, Rights needed, long position, long timeMillis)
            throws CryptoException {
        WriteCapability last = placed.chain.last();
        Hash chain = placed.chain.id();
        if (!last.rights().contains(needed)) {
            throw CryptoException.denied(
                    Denial.RIGHT_MISSING, "chain " + chain + " grants " + last.rights() + ", not " + needed);
        }
        Domain target = known(domain);
        if (target.position > position) {
            throw CryptoException.denied(
                    Denial.UNKNOWN_DOMAIN, "domain " + domain + " is not made yet at position " + position);
        }
        if (!covers(last.domain(), target)) {
            throw CryptoException.denied(
                    Denial.OTHER_DOMAIN, "chain " + chain + " is for domain " + last.domain() + ", not " + domain);
        }
        checkStanding(placed, position, timeMillis, true);
    }

    public TreeId tree() {
        return tree;
    }

    /** The position of the last record applied; 0 before the first. */
    public long position() {
        return read(() -> lastPosition);
    }

    /** The root principals in force after the last record. */
    public List<PrincipalKeys> roots() {
        return read(() -> rootTerms.stream()
                .filter(term -> term.to == STILL)
                .map(term -> keysOf(term.principal))
                .toList());
    }

    /** Whether {@code principal} is one of them. */
    public boolean isRoot(PrincipalId principal) {
        return roots().stream().anyMatch(root -> root.id().equals(principal));
    }

    private PrincipalKeys keysOf(PrincipalId id) {
        PrincipalKeys keys = principals.get(id);
        if (keys == null) {
            throw new IllegalStateException("no keys of " + id);
        }
        return keys;
    }

    /** Number of rotations so far, and so the sequence of the newest. */
    public int rotations() {
        return read(() -> rotations);
    }

    /** What the next rotation names as its previous one. */
    public Hash lastRotation() {
        return read(() -> lastRotation);
    }

    /** The keys of a principal that some record names, or null. */
    public @Nullable PrincipalKeys keys(PrincipalId principal) {
        return find(() -> principals.get(principal));
    }

    public @Nullable WriteCapabilityChain chain(Hash id) {
        return find(() -> {
            PlacedChain placed = chains.get(id);
            return placed == null ? null : placed.chain;
        });
    }

    /** The chains that end in {@code subject}, oldest first, whether or not they still count. */
    public List<WriteCapabilityChain> chainsOf(PrincipalId subject) {
        return read(() -> chainsBySubject.getOrDefault(subject, List.of()).stream()
                .map(PlacedChain::chain)
                .toList());
    }

    /** All chains, oldest first, whether or not they still count. */
    public List<WriteCapabilityChain> chains() {
        return read(() -> chains.values().stream()
                .sorted(Comparator.comparingLong(PlacedChain::position))
                .map(PlacedChain::chain)
                .toList());
    }

    /** The newest record that {@code node} has signed of itself, whether or not it may still run a node; null when there is none. */
    public @Nullable NodeRecord node(PrincipalId node) {
        return find(() -> nodes.get(node));
    }

    /**
     * Who may run a node after the last record, at log time {@code timeMillis}: all that hold {@link Rights#NODE} in the root domain
     * through some chain, roots no differently, with or without a node record. In the order in which the log's chains first end in them.
     */
    public List<PrincipalId> nodesAt(long timeMillis) {
        return read(() -> {
            Domain top = rootDomain;
            return top == null
                    ? List.of()
                    : chainsBySubject.keySet().stream()
                            .filter(who -> runsNode(who, top, timeMillis))
                            .toList();
        });
    }

    /** Whether one of {@link #nodesAt} may change blocks as well; a blind node may not. */
    public boolean mayWrite(PrincipalId node, long timeMillis) {
        return read(() -> rootDomain != null && holds(node, rootDomain, Rights.WRITE, timeMillis));
    }

    private boolean runsNode(PrincipalId who, Domain top, long timeMillis) {
        return holds(who, top, Rights.NODE, timeMillis);
    }

    private boolean holds(PrincipalId who, Domain top, Rights needed, long timeMillis) {
        try {
            checkHoldsByChain(who, top, List.of(needed), lastPosition, timeMillis);
            return true;
        } catch (CryptoException e) {
            return false;
        }
    }

    /** Whether {@code principal} is or was a root principal. */
    public boolean wasRoot(PrincipalId principal) {
        return read(() -> rootTerms.stream().anyMatch(term -> term.principal.equals(principal)));
    }

    /** Position of the first revocation of a capability, by its envelope id, by whomever; 0 when there is none. */
    public long revokedAt(Hash envelopeId) {
        return read(() -> {
            List<PlacedRevocation> placed = revocations.getOrDefault(envelopeId, List.of());
            return placed.isEmpty() ? 0 : placed.get(0).position;
        });
    }

    /** Null before the record that makes it. */
    public @Nullable DomainRecord rootDomain() {
        return find(() -> rootDomain == null ? null : rootDomain.record);
    }

    public @Nullable DomainRecord domain(DomainId id) {
        return find(() -> {
            Domain domain = domains.get(id);
            return domain == null ? null : domain.record;
        });
    }

    public Collection<DomainRecord> domains() {
        return read(() -> domains.values().stream().map(d -> d.record).toList());
    }

    /** The newest epoch's number; 0 when the domain has none or is not known. */
    public int currentEpoch(DomainId domain) {
        return read(() -> {
            Domain d = domains.get(domain);
            return d == null ? 0 : d.newestNumber();
        });
    }

    /** Epochs below it are refused for commits at {@code position}; 0 when the domain had no epoch then. */
    public int minEpoch(DomainId domain, long position) {
        return read(() -> {
            Domain d = domains.get(domain);
            EpochRecord newest = d == null ? null : d.newest(position);
            return newest == null ? 0 : newest.minEpoch();
        });
    }

    /** Null when there is no such epoch. */
    public @Nullable EpochRecord epoch(DomainId domain, int epoch) {
        return find(() -> {
            Domain d = domains.get(domain);
            return d == null || epoch < 1 || epoch > d.newestNumber() ? null : d.epochs.get(epoch - 1).epoch;
        });
    }

    /** What headers of this epoch must carry; null when there is no such epoch. */
    public @Nullable Hash epochCommitment(DomainId domain, int epoch) {
        EpochRecord record = epoch(domain, epoch);
        return record == null ? null : record.commitment();
    }

    /** Who holds a readcap for the newest epoch of a domain, as far as some record names their keys. */
    List<PrincipalKeys> readers(DomainId domain) {
        return read(() -> {
            int newest = currentEpoch(domain);
            return readcaps.entrySet().stream()
                    .filter(entry -> entry.getKey().domain.equals(domain)
                            && principals.containsKey(entry.getKey().recipient)
                            && entry.getValue().stream().anyMatch(readcap -> readcap.epoch() == newest))
                    .map(entry -> keysOf(entry.getKey().recipient))
                    .toList();
        });
    }

    /** Newest first. */
    List<ReadCapability> readcaps(PrincipalId recipient, DomainId domain) {
        return read(() -> {
            Deque<ReadCapability> kept = readcaps.get(new Reader(recipient, domain));
            return kept == null ? List.of() : List.copyOf(kept);
        });
    }

    private <T> T read(Supplier<T> question) {
        lock.readLock().lock();
        try {
            return question.get();
        } finally {
            lock.readLock().unlock();
        }
    }

    private interface Lookup<T> {
        @Nullable
        T find();
    }

    private <T> @Nullable T find(Lookup<T> lookup) {
        lock.readLock().lock();
        try {
            return lookup.find();
        } finally {
            lock.readLock().unlock();
        }
    }

    @Override
    public String toString() {
        return "Authority[tree=" + tree + ", position=" + position() + "]";
    }
}
