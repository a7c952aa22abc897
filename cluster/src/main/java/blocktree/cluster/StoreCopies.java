package blocktree.cluster;

import blocktree.btmsg.session.MessageException;
import blocktree.btmsg.session.Messenger;
import blocktree.btmsg.session.Peer;
import blocktree.btmsg.session.PeerStream;
import blocktree.btmsg.session.Service;
import blocktree.crypto.Identity;
import blocktree.crypto.TreeId;
import blocktree.store.BlockStore;
import blocktree.store.StoreException;
import blocktree.store.StoreOptions;
import blocktree.store.StoreSource;
import blocktree.store.StoreTarget;
import blocktree.store.TransferProgress;
import java.nio.file.Path;
import java.time.Duration;
import java.util.concurrent.Semaphore;
import java.util.function.Consumer;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Copies of stores over sessions: a node that joins, or that was away for too long, takes over what another has. */
public final class StoreCopies {

    private static final Logger log = LoggerFactory.getLogger(StoreCopies.class);

    private static final String SERVICE = "cluster.copy";

    /** The other side verifies and syncs what has come before it reads on. */
    private static final Duration PATIENCE = Duration.ofSeconds(60);

    private static final int AT_ONCE_MAX = 2;

    private StoreCopies() {}

    /** Serves copies of {@code store} to the nodes of its tree, two at a time. */
    public static void serve(Messenger messenger, BlockStore store) {
        Semaphore places = new Semaphore(AT_ONCE_MAX);
        messenger.register(Service.ofStreams(SERVICE, stream -> {
            if (!places.tryAcquire()) {
                throw new MessageException(MessageException.Code.BUSY, "others are taking copies: try later");
            }
            try (StreamChannel channel = new StreamChannel(stream)) {
                StoreSource.send(store, channel, channel, progress -> {});
                channel.end();
                channel.awaitEnd();
                log.atInfo().addKeyValue("peer", stream.peer().principal()).log("store_copied");
            } catch (StoreException e) {
                log.atWarn()
                        .addKeyValue("peer", stream.peer().principal())
                        .addKeyValue("reason", e.getMessage())
                        .log("store_copy_failed");
            } finally {
                places.release();
            }
        }));
    }

    /** As {@link StoreTarget#create}, from {@code peer}. */
    public static void create(
            Peer peer, Path dir, StoreOptions options, Identity node, TreeId tree, Consumer<TransferProgress> progress)
            throws StoreException {
        try (StreamChannel channel = open(peer)) {
            StoreTarget.create(dir, options, node, tree, channel, channel, progress);
            channel.end();
        }
    }

    /** As {@link StoreTarget#update}, from {@code peer}. */
    public static void update(
            Peer peer, Path dir, StoreOptions options, Identity node, Consumer<TransferProgress> progress)
            throws StoreException {
        try (StreamChannel channel = open(peer)) {
            StoreTarget.update(dir, options, node, channel, channel, progress);
            channel.end();
        }
    }

    private static StreamChannel open(Peer peer) throws StoreException {
        try {
            PeerStream stream = peer.openStream(SERVICE, new byte[0], PATIENCE);
            return new StreamChannel(stream);
        } catch (MessageException e) {
            throw new StoreException(
                    StoreException.Code.IO, "cannot ask " + peer.principal() + " for a copy: " + e.getMessage(), e);
        }
    }
}
