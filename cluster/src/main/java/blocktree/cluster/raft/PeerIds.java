package blocktree.cluster.raft;

import blocktree.crypto.PrincipalId;
import blocktree.crypto.TreeId;
import java.nio.ByteBuffer;
import java.util.Collection;
import java.util.Set;
import java.util.UUID;
import java.util.stream.Collectors;
import org.apache.ratis.protocol.RaftGroupId;
import org.apache.ratis.protocol.RaftPeer;
import org.apache.ratis.protocol.RaftPeerId;

/** Our names and the engine's. */
final class PeerIds {

    private PeerIds() {}

    static RaftPeerId of(PrincipalId principal) {
        return RaftPeerId.valueOf(principal.toHex());
    }

    static PrincipalId principal(RaftPeerId peer) {
        return PrincipalId.parse(peer.toString());
    }

    /** Without an address: sessions are found by principal. */
    static RaftPeer peer(PrincipalId principal) {
        return RaftPeer.newBuilder().setId(of(principal)).build();
    }

    static Set<PrincipalId> principals(Collection<RaftPeer> peers) {
        return peers.stream().map(peer -> principal(peer.getId())).collect(Collectors.toUnmodifiableSet());
    }

    /** The first half of the tree's id: a tree has one group. */
    static RaftGroupId group(TreeId tree) {
        ByteBuffer bytes = ByteBuffer.wrap(tree.toBytes());
        return RaftGroupId.valueOf(new UUID(bytes.getLong(), bytes.getLong()));
    }
}
