package blocktree.node;

import blocktree.btmsg.session.Messenger;
import blocktree.btmsg.session.Peer;
import blocktree.cluster.ClusterNode;
import blocktree.cluster.raft.LostGroup;
import blocktree.cluster.raft.RaftEngine;
import blocktree.cluster.raft.RaftOptions;
import blocktree.crypto.Authority;
import blocktree.crypto.CryptoException;
import blocktree.crypto.Identity;
import blocktree.crypto.KeyChange;
import blocktree.crypto.PrincipalId;
import blocktree.store.BlockStore;
import blocktree.store.StoreException;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Clock;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** Goes on with one node whose group has lost its majority for good (docs/cluster.md, "When the majority is lost"). */
final class Recovery {
    private static final long ANSWER_SECONDS = 3;

    private Recovery() {}

    /** Which other nodes are reached within three seconds. */
    static Set<PrincipalId> answering(Authority authority, Identity identity, NodePlace place) throws NodeException {
        List<PrincipalId> others = Membership.others(authority, identity.id());
        try (Messenger messenger = Membership.connect(authority, identity, place)) {
            Membership.dial(messenger, authority, identity.id(), new HashMap<>());
            List<Peer> peers = others.stream().map(messenger::peer).toList();
            try {
                CompletableFuture.allOf(peers.stream().map(Peer::whenConnected).toArray(CompletableFuture[]::new))
                        .get(ANSWER_SECONDS, TimeUnit.SECONDS);
            } catch (TimeoutException | ExecutionException e) {
                // those that are
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
            Set<PrincipalId> reached = new HashSet<>();
            peers.stream().filter(Peer::isConnected).map(Peer::principal).forEach(reached::add);
            return reached;
        }
    }

    /**
     * Makes this node the only one of a new group, over its store with all that is in its log, and retires all others. When it is cut off the node does not start before
     * it was done again. Returns the position of the tree's log.
     */
    static long run(RunSettings settings, NodePlace place, Identity root, Identity identity) throws NodeException {
        String tried = "to make this node the only one of the tree";
        PrincipalId self = identity.id();
        Path raft = place.directory().resolve("raft");
        try (BlockStore store = OpenTree.openStore(settings, identity);
                Messenger messenger = Membership.connect(store.authority(), identity, place)) {
            place.noteRecovery();
            LostGroup group = new LostGroup(raft, store.tree(), self);
            try (ClusterNode cluster = new ClusterNode(store, messenger, self, place.directory(), Clock.systemUTC())) {
                group.read(cluster.applied().index(), cluster::applyOwn);
                store.sync();
                NodePlace.write(place.directory(), place.name(), Set.of(self));
                group.forget();
                cluster.start(
                        new RaftEngine(
                                raft,
                                (machine, voters) ->
                                        RaftOptions.of(raft, store.tree(), self, voters, messenger, machine)),
                        Set.of(self));
                for (PrincipalId other : Membership.others(store.authority(), self)) {
                    store.appendAuthority(
                            KeyChange.retireNode(store.authority(), root, other, System.currentTimeMillis()));
                }
                store.sync();
            }
            place.forgetRecovery();
            return store.headPosition();
        } catch (StoreException e) {
            throw Failures.of(tried, e);
        } catch (CryptoException e) {
            throw Failures.of(tried, e);
        } catch (IOException e) {
            throw Failures.of(tried, e, "check the disk of " + place.directory() + ", and give the command again");
        }
    }
}
