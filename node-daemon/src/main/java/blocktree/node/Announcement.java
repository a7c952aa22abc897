package blocktree.node;

import blocktree.btmsg.session.Call;
import blocktree.btmsg.session.MessageException;
import blocktree.btmsg.session.Messenger;
import blocktree.btmsg.session.Service;
import blocktree.crypto.CryptoException;
import blocktree.crypto.Identity;
import blocktree.crypto.NodeRecord;
import blocktree.crypto.PrincipalId;
import blocktree.crypto.RecordKind;
import blocktree.store.BlockStore;
import blocktree.store.StoreException;
import java.net.InetSocketAddress;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Says in the tree's log what this node is called and where it is reached. A blind node, which may put nothing there itself, has whoever leads do it. Thread-safe.
 */
final class Announcement {
    private static final Logger log = LoggerFactory.getLogger(Announcement.class);

    private static final String SERVICE = "cluster.publish";
    private static final Duration PATIENCE = Duration.ofSeconds(10);

    /** One node has its record replaced no more often. */
    private static final long EACH_NANOS_MIN = TimeUnit.SECONDS.toNanos(5);

    private final BlockStore store;
    private final Identity identity;
    private final String name;
    private final List<InetSocketAddress> addresses;
    private final Messenger messenger;

    /** When each was taken last; of nodes of the tree only. Used by the service's one thread. */
    private final Map<PrincipalId, Long> takenNanos = new HashMap<>();

    Announcement(
            BlockStore store, Identity identity, String name, List<InetSocketAddress> addresses, Messenger messenger) {
        this.store = store;
        this.identity = identity;
        this.name = name;
        this.addresses = addresses;
        this.messenger = messenger;
        messenger.register(Service.ofMessages(SERVICE, 1, 1, this::take));
    }

    /**
     * If it is not there yet.
     *
     * @param leader null while nobody leads: nothing is done then
     * @param trusted whether this node may do it itself
     */
    void publish(@Nullable PrincipalId leader, boolean trusted) throws StoreException, InterruptedException {
        NodeRecord known = store.authority().node(identity.id());
        if (leader == null
                || known != null
                        && known.name().equals(name)
                        && known.addresses().equals(addresses)) {
            return;
        }
        long sequence = known == null ? 1 : known.sequence() + 1;
        byte[] record = NodeRecord.create(identity, store.tree(), sequence, name, addresses)
                .toBytes();
        if (trusted) {
            store.appendAuthority(RecordKind.NODE, record);
        } else if (!leader.equals(identity.id())) {
            try {
                messenger
                        .peer(leader)
                        .request(SERVICE, record, PATIENCE)
                        .get(PATIENCE.toMillis(), TimeUnit.MILLISECONDS);
            } catch (ExecutionException | TimeoutException e) {
                log.atDebug().addKeyValue("peer", leader).setCause(e).log("node_not_published");
                return; // tried again
            }
        }
        log.atInfo()
                .addKeyValue("name", name)
                .addKeyValue("addresses", Membership.texts(addresses))
                .log("node_published");
    }

    private CompletionStage<byte[]> take(Call call) throws MessageException {
        PrincipalId caller = call.caller().principal();
        Long before = takenNanos.get(caller);
        if (before != null && System.nanoTime() - before < EACH_NANOS_MIN) {
            throw new MessageException(MessageException.Code.BUSY, "its record was replaced a moment ago");
        }
        try {
            NodeRecord record = NodeRecord.parse(call.body());
            if (!record.node().equals(caller)) {
                throw new MessageException(MessageException.Code.FAILED, "the record of another node");
            }
            takenNanos.put(caller, System.nanoTime());
            store.appendAuthority(RecordKind.NODE, call.body());
            return CompletableFuture.completedFuture(new byte[0]);
        } catch (CryptoException | StoreException e) {
            throw new MessageException(MessageException.Code.FAILED, String.valueOf(e.getMessage()));
        }
    }
}
