package blocktree.btmsg.session;

import static org.junit.jupiter.api.Assertions.assertEquals;

import blocktree.crypto.CryptoException;
import blocktree.crypto.Hash;
import blocktree.crypto.Identity;
import blocktree.crypto.Invitation;
import blocktree.crypto.JoinStatement;
import com.code_intelligence.jazzer.junit.FuzzTest;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.time.Clock;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** Any bytes of one side end in what they should be, or in a refusal by the other. */
class JoinFuzzTest {
    private static final NodeRole ROLE = new NodeRole(NodeRole.Kind.REPLICA, true);

    /** A member that nobody can prove anything to. */
    private static final class Member {
        static final TestTree TREE = new TestTree();
        static final Identity SELF = Identity.generate();
        static final Invitations INVITATIONS = invitations();
        static final TestCertifier CERTIFIER = new TestCertifier(TREE);
        static final JoinDesk DESK = new JoinDesk(SELF.id(), INVITATIONS, CERTIFIER);
        static final Invitation INVITATION = invite();

        static Invitations invitations() {
            Map<String, byte[]> rows = new HashMap<>();
            try {
                return new Invitations(
                        TREE.tree,
                        SELF,
                        new InvitationStore() {
                            @Override
                            public void put(String id, byte[] sealed) {
                                rows.put(id, sealed);
                            }

                            @Override
                            public void delete(String id) {
                                rows.remove(id);
                            }

                            @Override
                            public Map<String, byte[]> readAll() {
                                return Map.copyOf(rows);
                            }
                        },
                        Clock.systemUTC());
            } catch (IOException e) {
                throw new IllegalStateException(e);
            }
        }

        static Invitation invite() {
            try {
                return INVITATIONS.create(ROLE, List.of(new InetSocketAddress("127.0.0.1", 1)), Invitations.LIFE);
            } catch (IOException e) {
                throw new IllegalStateException(e);
            }
        }
    }

    @FuzzTest
    void member(byte[] bytes) {
        try {
            JoinProto.Join step = FrameReader.parse(bytes).getJoin();
            if (step.hasHello()) {
                JoinDesk.Greeted greeted = Member.DESK.greet(step.getHello(), Hash.of(new byte[32]));
                assertEquals(Member.INVITATION.secret().id(), greeted.offer().id());
            } else if (step.hasRequest()) {
                // as if it had been greeted with what it signs, so that it gets as far as its proof
                Hash binding = JoinStatement.parse(
                                step.getRequest().getStatement().toByteArray())
                        .binding();
                Invitations.Offer offer =
                        new Invitations.Offer(Member.INVITATION.secret().id(), binding, new byte[32], ROLE);
                Member.DESK.admit(
                        new JoinDesk.Greeted(
                                offer,
                                JoinProto.JoinOffer.getDefaultInstance(),
                                JoinProto.JoinTree.getDefaultInstance()),
                        step.getRequest());
                throw new AssertionError("proven by chance");
            }
        } catch (JoinException | ProtocolViolation | CryptoException e) {
            assertEquals(List.of(), Member.CERTIFIER.names());
        }
    }

    /** Of a member that has proven itself, to a machine that has asked. */
    @FuzzTest
    void joiner(byte[] bytes) {
        TestTree tree = Member.TREE;
        Joining joining = new Joining(Member.INVITATION, Member.SELF, "n", null, new Joining.Steps() {
            @Override
            public void reached(Joining.Step step, String detail) {}

            @Override
            public boolean accept(Joining.Comparison comparison) {
                return true;
            }
        });
        try {
            JoinProto.Join step = FrameReader.parse(bytes).getJoin();
            if (step.hasTree()) {
                Joining.authority(tree.tree, Joining.foundation(step.getTree()));
            } else if (step.hasWelcome()) {
                joining.joined(
                        new Joining.Shown(
                                Member.SELF.id(), ROLE, Hash.of(new byte[32]), tree.authority, tree.foundation()),
                        step.getWelcome());
            }
        } catch (ProtocolViolation | CryptoException e) {
            // refused
        }
    }
}
