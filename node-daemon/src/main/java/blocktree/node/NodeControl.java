package blocktree.node;

import blocktree.btmsg.ControlException;
import blocktree.btmsg.ControlHandler;
import blocktree.btmsg.ControlReply;
import blocktree.btmsg.ControlRequest;
import blocktree.btmsg.session.NodeRole;
import com.google.protobuf.ByteString;
import java.time.Duration;

/** Carries out what comes over the control protocol. */
final class NodeControl implements ControlHandler {
    private static final Duration UNMOUNT_PATIENCE = Duration.ofSeconds(10);

    private final Node node;

    NodeControl(Node node) {
        this.node = node;
    }

    @Override
    public ControlReply.Welcome welcome() {
        return node.welcome();
    }

    @Override
    public ControlReply handle(ControlRequest request, Stream stream) {
        try {
            return carryOut(request, stream);
        } catch (NodeException e) {
            return Failures.toReply(e);
        }
    }

    private ControlReply carryOut(ControlRequest request, Stream stream) throws NodeException {
        if (request instanceof ControlRequest.Status) {
            return node.status();
        } else if (request instanceof ControlRequest.Key) {
            return node.key();
        } else if (request instanceof ControlRequest.SnapshotList) {
            return new ControlReply.Snapshots(node.tree().snapshots());
        } else if (request instanceof ControlRequest.Fsck fsck) {
            CheckStream out = CheckStream.to(stream);
            if (fsck.cluster()) {
                node.membership("to ask the other nodes of the tree").compare(out);
                node.tree().heal(out);
            }
            return node.tree().check(fsck.repair(), out);
        } else if (request instanceof ControlRequest.Scrub) {
            return node.tree().scrub(CheckStream.to(stream));
        } else if (request instanceof ControlRequest.Nodes) {
            return new ControlReply.Nodes(
                    node.membership("to list the nodes of the tree").nodes());
        } else if (request instanceof ControlRequest.Locks) {
            return node.tree().locks();
        } else if (request instanceof ControlRequest.Lock lock) {
            node.tree().hold(lock, stream);
        } else if (request instanceof ControlRequest.Invite invite) {
            node.membership("to invite a machine")
                    .invite(
                            Duration.ofMillis(invite.lifeMillis()),
                            new NodeRole(
                                    invite.voter() ? NodeRole.Kind.VOTER : NodeRole.Kind.REPLICA, invite.trusted()),
                            stream);
        } else if (request instanceof ControlRequest.Admit admit) {
            node.membership("to admit a machine")
                    .admit(
                            admit.invitation(),
                            admit.chain().toByteArray(),
                            admit.readCapabilities().stream()
                                    .map(ByteString::toByteArray)
                                    .toList(),
                            admit.refusal());
        } else if (request instanceof ControlRequest.SetVoter change) {
            node.membership("to change who votes").setVoter(change.node(), change.voter());
        } else if (request instanceof ControlRequest.Retire retire) {
            node.membership("to retire a node").retire(retire.principal(), retire.records());
        } else if (request instanceof ControlRequest.AppendAuthority append) {
            node.tree().appendAuthority(append.records(), append.after());
        } else if (request instanceof ControlRequest.Mount mount) {
            node.mount(mount.mount());
        } else if (request instanceof ControlRequest.Unmount unmount) {
            node.unmount(unmount.mountPoint(), unmount.force(), UNMOUNT_PATIENCE);
        } else if (request instanceof ControlRequest.SnapshotCreate create) {
            node.writeBack();
            node.tree().createSnapshot(create.name());
        } else if (request instanceof ControlRequest.SnapshotDelete delete) {
            node.tree().deleteSnapshot(delete.name());
        } else if (request instanceof ControlRequest.Sync) {
            node.writeBack();
            node.tree().sync();
        } else if (request instanceof ControlRequest.Stop stop) {
            node.stopFor(stop.force());
        } else {
            throw new IllegalStateException("not a request for the node: " + request);
        }
        return new ControlReply.Done();
    }

    /** Where a check puts what it finds; says when nobody listens any more. */
    interface CheckStream {
        /** False when the check should end, since its client is gone. */
        boolean offer(ControlReply part);

        static CheckStream to(Stream stream) {
            return part -> {
                try {
                    stream.send(part);
                    return true;
                } catch (ControlException e) {
                    return false;
                }
            };
        }
    }
}
