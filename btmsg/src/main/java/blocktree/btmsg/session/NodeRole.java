package blocktree.btmsg.session;

import blocktree.crypto.Rights;
import java.util.Locale;

/**
 * What a node is for in its tree (docs/cluster.md, "Parts").
 *
 * @param trusted whether it is given read capabilities; one that is not is blind
 */
public record NodeRole(Kind kind, boolean trusted) {

    public enum Kind {
        /** Stores all, and takes part in agreement. */
        VOTER,
        /** Stores and serves. */
        REPLICA,
        /** Mounts; stores nothing that others rely on. */
        CLIENT
    }

    /** In the root domain: a blind node changes nothing, a client begins no key epochs. */
    public Rights rights() {
        if (!trusted) {
            return Rights.NODE;
        }
        Rights writer = Rights.NODE.and(Rights.WRITE);
        return kind == Kind.CLIENT ? writer : writer.and(Rights.REKEY);
    }

    JoinProto.RoleKind wire() {
        return switch (kind) {
            case VOTER -> JoinProto.RoleKind.VOTER;
            case REPLICA -> JoinProto.RoleKind.REPLICA;
            case CLIENT -> JoinProto.RoleKind.CLIENT;
        };
    }

    static NodeRole of(JoinProto.RoleKind kind, boolean trusted) throws ProtocolViolation {
        return switch (kind) {
            case VOTER -> new NodeRole(Kind.VOTER, trusted);
            case REPLICA -> new NodeRole(Kind.REPLICA, trusted);
            case CLIENT -> new NodeRole(Kind.CLIENT, trusted);
            case NO_ROLE, UNRECOGNIZED -> throw new ProtocolViolation("no role that this program knows");
        };
    }

    /** Such as {@code trusted voter}. */
    @Override
    public String toString() {
        return (trusted ? "trusted " : "blind ") + kind.name().toLowerCase(Locale.ROOT);
    }
}
