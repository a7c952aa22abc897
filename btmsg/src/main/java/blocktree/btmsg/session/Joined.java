package blocktree.btmsg.session;

import blocktree.crypto.PrincipalId;
import blocktree.crypto.PrincipalKeys;
import blocktree.crypto.ReadCapability;
import blocktree.crypto.TreeFounding;
import blocktree.crypto.TreeId;
import blocktree.crypto.WriteCapabilityChain;
import java.util.List;

/**
 * What a machine has been given that was made a node. All but the members is verified.
 *
 * @param chain what lets it run a node: for its certificates
 * @param readCapabilities sealed to its keys; none for a blind role. That they open what they should, the tree's epochs say
 * @param foundation genesis, root domain and rotations, in the log's order
 * @param roots the root principals in force
 * @param member who has made it a node
 */
public record Joined(
        TreeId tree,
        NodeRole role,
        WriteCapabilityChain chain,
        List<ReadCapability> readCapabilities,
        List<TreeFounding.Entry> foundation,
        List<PrincipalKeys> roots,
        PrincipalId member,
        List<Member> members) {}
