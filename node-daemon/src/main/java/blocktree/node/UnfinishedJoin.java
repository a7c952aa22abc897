package blocktree.node;

import blocktree.btmsg.session.Joined;
import blocktree.btmsg.session.Joining;
import blocktree.btmsg.session.Member;
import blocktree.btmsg.session.NodeRole;
import blocktree.crypto.Authority;
import blocktree.crypto.CryptoException;
import blocktree.crypto.PrincipalId;
import blocktree.crypto.RecordKind;
import blocktree.crypto.TreeFounding;
import blocktree.crypto.TreeId;
import blocktree.crypto.WriteCapabilityChain;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * What a machine was given that is a node by now and has no copy of the tree yet, kept in its data directory until it has: the copy may be cut off and
 * begun again, without another invitation.
 *
 * @param members from whom it is taken over, the one that has certified this machine first
 */
record UnfinishedJoin(
        TreeId tree,
        NodeRole role,
        WriteCapabilityChain chain,
        List<TreeFounding.Entry> foundation,
        List<Member> members) {
    private static final String FILE = "joined";
    private static final HexFormat HEX = HexFormat.of();

    static UnfinishedJoin of(Joined joined) {
        List<Member> members = new ArrayList<>();
        for (Member member : joined.members()) {
            members.add(member.principal().equals(joined.member()) ? 0 : members.size(), member);
        }
        return new UnfinishedJoin(
                joined.tree(), joined.role(), joined.chain(), joined.foundation(), List.copyOf(members));
    }

    static boolean isIn(Path cluster) {
        return Files.exists(cluster.resolve(FILE));
    }

    void write(Path cluster) throws IOException {
        List<String> lines = new ArrayList<>();
        lines.add("tree " + tree.toHex());
        lines.add("role " + role.kind() + " " + role.trusted());
        lines.add("chain " + HEX.formatHex(chain.toBytes()));
        for (TreeFounding.Entry entry : foundation) {
            lines.add("record " + entry.kind().number() + " " + HEX.formatHex(entry.payload()));
        }
        for (Member member : members) {
            lines.add("member " + member.principal().toHex() + " "
                    + String.join(",", Membership.texts(member.addresses())));
        }
        Files.write(cluster.resolve(FILE), lines);
    }

    static UnfinishedJoin read(Path cluster) throws IOException {
        Path file = cluster.resolve(FILE);
        TreeId tree = null;
        NodeRole role = null;
        WriteCapabilityChain chain = null;
        List<TreeFounding.Entry> foundation = new ArrayList<>();
        List<Member> members = new ArrayList<>();
        try {
            for (String line : Files.readAllLines(file)) {
                String[] words = line.split(" ", -1);
                switch (words[0]) {
                    case "tree" -> tree = TreeId.parse(words[1]);
                    case "role" -> role = new NodeRole(NodeRole.Kind.valueOf(words[1]), Boolean.parseBoolean(words[2]));
                    case "chain" -> chain = WriteCapabilityChain.parse(HEX.parseHex(words[1]));
                    case "record" ->
                        foundation.add(new TreeFounding.Entry(
                                RecordKind.of(Integer.parseInt(words[1])), HEX.parseHex(words[2])));
                    case "member" ->
                        members.add(new Member(PrincipalId.parse(words[1]), "", Setting.parseAddresses(words[2])));
                    default -> throw new IOException(file + " has a line that says " + words[0]);
                }
            }
        } catch (CryptoException | IllegalArgumentException | ArrayIndexOutOfBoundsException e) {
            throw new IOException(file + " is damaged: " + e.getMessage(), e);
        }
        return new UnfinishedJoin(require(tree, file), require(role, file), require(chain, file), foundation, members);
    }

    private static <T> T require(@Nullable T value, Path file) throws IOException {
        if (value == null) {
            throw new IOException(file + " is not whole");
        }
        return value;
    }

    static void delete(Path cluster) throws IOException {
        Files.delete(cluster.resolve(FILE));
    }

    /** What the foundation says of who may do what, for as long as the tree's log is not here. */
    Authority authority() throws CryptoException {
        return Joining.authority(tree, foundation);
    }
}
