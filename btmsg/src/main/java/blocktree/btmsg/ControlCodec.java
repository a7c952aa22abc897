package blocktree.btmsg;

import blocktree.btmsg.ControlProto.Empty;
import blocktree.btmsg.ControlProto.FromNode;
import blocktree.btmsg.ControlProto.Named;
import blocktree.btmsg.ControlProto.ToNode;
import com.google.protobuf.CodedOutputStream;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.MessageLite;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Between the records that this package shows and the generated messages that it does not. */
final class ControlCodec {
    /** Of {@link FromNode} and {@link ToNode}: raised when a change would make an older peer misunderstand. */
    static final int PROTOCOL_VERSION = 1;

    private ControlCodec() {}

    record Request(long id, ControlRequest request) {}

    /** A message from a node: a reply, or an event. */
    sealed interface Message {}

    record Reply(long id, ControlReply reply) implements Message {}

    record Event(ControlEvent event) implements Message {}

    private static List<ControlProto.Record> messages(List<ControlRequest.Record> records) {
        return records.stream()
                .map(record -> ControlProto.Record.newBuilder()
                        .setKind(record.kind())
                        .setPayload(record.payload())
                        .build())
                .toList();
    }

    private static List<ControlRequest.Record> records(List<ControlProto.Record> messages) {
        return messages.stream()
                .map(record -> new ControlRequest.Record(record.getKind(), record.getPayload()))
                .toList();
    }

    static byte[] encode(long id, ControlRequest request) {
        ToNode.Builder message = ToNode.newBuilder().setId(id);
        if (request instanceof ControlRequest.Hello hello) {
            message.setHello(ControlProto.Hello.newBuilder().setVersion(hello.version()));
        } else if (request instanceof ControlRequest.Status) {
            message.setStatus(Empty.getDefaultInstance());
        } else if (request instanceof ControlRequest.Mount mount) {
            message.setMount(toProto(mount.mount()));
        } else if (request instanceof ControlRequest.Unmount unmount) {
            message.setUnmount(ControlProto.Unmount.newBuilder()
                    .setMountPoint(unmount.mountPoint())
                    .setForce(unmount.force()));
        } else if (request instanceof ControlRequest.SnapshotCreate create) {
            message.setSnapshotCreate(Named.newBuilder().setName(create.name()));
        } else if (request instanceof ControlRequest.SnapshotList) {
            message.setSnapshotList(Empty.getDefaultInstance());
        } else if (request instanceof ControlRequest.SnapshotDelete delete) {
            message.setSnapshotDelete(Named.newBuilder().setName(delete.name()));
        } else if (request instanceof ControlRequest.Fsck fsck) {
            message.setFsck(
                    ControlProto.Fsck.newBuilder().setRepair(fsck.repair()).setCluster(fsck.cluster()));
        } else if (request instanceof ControlRequest.Scrub) {
            message.setScrub(Empty.getDefaultInstance());
        } else if (request instanceof ControlRequest.Sync) {
            message.setSync(Empty.getDefaultInstance());
        } else if (request instanceof ControlRequest.Key) {
            message.setKey(Empty.getDefaultInstance());
        } else if (request instanceof ControlRequest.Stop stop) {
            message.setStop(ControlProto.Stop.newBuilder().setForce(stop.force()));
        } else if (request instanceof ControlRequest.Invite invite) {
            message.setInvite(ControlProto.Invite.newBuilder()
                    .setLifeMillis(invite.lifeMillis())
                    .setReplica(!invite.voter())
                    .setBlind(!invite.trusted()));
        } else if (request instanceof ControlRequest.Admit admit) {
            message.setAdmit(ControlProto.Admit.newBuilder()
                    .setInvitation(admit.invitation())
                    .setChain(admit.chain())
                    .addAllReadCapabilities(admit.readCapabilities())
                    .setRefusal(admit.refusal()));
        } else if (request instanceof ControlRequest.Nodes) {
            message.setNodes(Empty.getDefaultInstance());
        } else if (request instanceof ControlRequest.Locks) {
            message.setLocks(Empty.getDefaultInstance());
        } else if (request instanceof ControlRequest.Lock lock) {
            message.setLock(ControlProto.Lock.newBuilder()
                    .setPath(lock.path())
                    .setShared(lock.shared())
                    .setPatienceMillis(lock.patienceMillis())
                    .setPid(lock.pid()));
        } else if (request instanceof ControlRequest.SetVoter change) {
            message.setSetVoter(
                    ControlProto.SetVoter.newBuilder().setNode(change.node()).setVoter(change.voter()));
        } else if (request instanceof ControlRequest.Retire retire) {
            message.setRetire(ControlProto.Retire.newBuilder()
                    .setPrincipal(retire.principal())
                    .addAllRecords(messages(retire.records())));
        } else if (request instanceof ControlRequest.AppendAuthority append) {
            message.setAppendAuthority(ControlProto.AppendAuthority.newBuilder()
                    .addAllRecords(messages(append.records()))
                    .setAfter(append.after()));
        } else {
            throw new IllegalArgumentException("no message for " + request);
        }
        return frame(message.build());
    }

    static Request decodeRequest(byte[] body) throws ControlException {
        ToNode message;
        try {
            message = ToNode.parseFrom(body);
        } catch (InvalidProtocolBufferException e) {
            throw malformed();
        }
        ControlRequest request = switch (message.getRequestCase()) {
            case HELLO -> new ControlRequest.Hello(message.getHello().getVersion());
            case STATUS -> new ControlRequest.Status();
            case MOUNT -> new ControlRequest.Mount(fromProto(message.getMount()));
            case UNMOUNT ->
                new ControlRequest.Unmount(
                        message.getUnmount().getMountPoint(),
                        message.getUnmount().getForce());
            case SNAPSHOT_CREATE ->
                new ControlRequest.SnapshotCreate(message.getSnapshotCreate().getName());
            case SNAPSHOT_LIST -> new ControlRequest.SnapshotList();
            case SNAPSHOT_DELETE ->
                new ControlRequest.SnapshotDelete(message.getSnapshotDelete().getName());
            case FSCK ->
                new ControlRequest.Fsck(
                        message.getFsck().getRepair(), message.getFsck().getCluster());
            case SCRUB -> new ControlRequest.Scrub();
            case SYNC -> new ControlRequest.Sync();
            case KEY -> new ControlRequest.Key();
            case STOP -> new ControlRequest.Stop(message.getStop().getForce());
            case INVITE ->
                new ControlRequest.Invite(
                        message.getInvite().getLifeMillis(),
                        !message.getInvite().getReplica(),
                        !message.getInvite().getBlind());
            case ADMIT ->
                new ControlRequest.Admit(
                        message.getAdmit().getInvitation(),
                        message.getAdmit().getChain(),
                        message.getAdmit().getReadCapabilitiesList(),
                        message.getAdmit().getRefusal());
            case NODES -> new ControlRequest.Nodes();
            case LOCKS -> new ControlRequest.Locks();
            case LOCK ->
                new ControlRequest.Lock(
                        message.getLock().getPath(),
                        message.getLock().getShared(),
                        message.getLock().getPatienceMillis(),
                        message.getLock().getPid());
            case SET_VOTER ->
                new ControlRequest.SetVoter(
                        message.getSetVoter().getNode(), message.getSetVoter().getVoter());
            case RETIRE ->
                new ControlRequest.Retire(
                        message.getRetire().getPrincipal(),
                        records(message.getRetire().getRecordsList()));
            case APPEND_AUTHORITY ->
                new ControlRequest.AppendAuthority(
                        records(message.getAppendAuthority().getRecordsList()),
                        message.getAppendAuthority().getAfter());
            case REQUEST_NOT_SET -> throw malformed();
        };
        return new Request(message.getId(), request);
    }

    static byte[] encode(long id, ControlReply reply) {
        FromNode.Builder message = FromNode.newBuilder().setId(id);
        if (reply instanceof ControlReply.Welcome welcome) {
            message.setWelcome(ControlProto.Welcome.newBuilder()
                    .setVersion(welcome.version())
                    .setNodeVersion(welcome.nodeVersion())
                    .setPid(welcome.pid())
                    .setTree(welcome.tree()));
        } else if (reply instanceof ControlReply.Done) {
            message.setDone(Empty.getDefaultInstance());
        } else if (reply instanceof ControlReply.Failed failed) {
            message.setFailed(ControlProto.Failed.newBuilder()
                    .setExitCode(failed.exitCode())
                    .setTried(failed.tried())
                    .setFound(failed.found())
                    .setRemedy(failed.remedy()));
        } else if (reply instanceof ControlReply.Status status) {
            ControlProto.Status.Builder builder = ControlProto.Status.newBuilder()
                    .setNodeVersion(status.nodeVersion())
                    .setPid(status.pid())
                    .setStartedMillis(status.startedMillis())
                    .setTree(status.tree())
                    .setPrincipal(status.principal())
                    .setDataDirectory(status.dataDirectory())
                    .setState(status.state())
                    .putAllCounters(status.counters());
            status.mounts().forEach(mount -> builder.addMounts(toProto(mount)));
            builder.addAllLatencyUpperNanos(status.latencyUpperNanos());
            status.latencies()
                    .forEach(latency -> builder.addLatencies(ControlProto.Latency.newBuilder()
                            .setName(latency.name())
                            .setFailures(latency.failures())
                            .setTotalNanos(latency.totalNanos())
                            .addAllCounts(latency.counts())));
            message.setStatus(builder);
        } else if (reply instanceof ControlReply.Snapshots snapshots) {
            ControlProto.Snapshots.Builder builder = ControlProto.Snapshots.newBuilder();
            for (ControlReply.Snapshot snapshot : snapshots.snapshots()) {
                builder.addSnapshots(ControlProto.Snapshot.newBuilder()
                        .setName(snapshot.name())
                        .setId(snapshot.id())
                        .setTimeMillis(snapshot.timeMillis())
                        .setPosition(snapshot.position()));
            }
            message.setSnapshots(builder);
        } else if (reply instanceof ControlReply.Key key) {
            message.setKey(ControlProto.Key.newBuilder()
                    .setTree(key.tree())
                    .setPrincipal(key.principal())
                    .setProtection(key.protection()));
        } else if (reply instanceof ControlReply.Progress progress) {
            message.setProgress(ControlProto.Progress.newBuilder()
                    .setPhase(progress.phase())
                    .setDone(progress.done())
                    .setTotal(progress.total()));
        } else if (reply instanceof ControlReply.Finding finding) {
            message.setFinding(ControlProto.Finding.newBuilder()
                    .setSeverity(finding.severity())
                    .setKind(finding.kind())
                    .setSubject(finding.subject())
                    .setDetail(finding.detail())
                    .setRepaired(finding.repaired()));
        } else if (reply instanceof ControlReply.Invited invited) {
            message.setInvited(ControlProto.Invited.newBuilder()
                    .setInvitation(invited.invitation())
                    .setCode(invited.code())
                    .setExpiresMillis(invited.expiresMillis()));
        } else if (reply instanceof ControlReply.JoinAsked asked) {
            message.setJoinAsked(ControlProto.JoinAsked.newBuilder()
                    .setInvitation(asked.invitation())
                    .setKeys(asked.keys())
                    .setName(asked.name()));
        } else if (reply instanceof ControlReply.Nodes nodes) {
            message.setNodes(ControlProto.Nodes.newBuilder()
                    .addAllNodes(
                            nodes.nodes().stream().map(ControlCodec::toProto).toList()));
        } else if (reply instanceof ControlReply.Locks locks) {
            message.setLocks(ControlProto.Locks.newBuilder()
                    .addAllLocks(
                            locks.locks().stream().map(ControlCodec::toProto).toList())
                    .addAllSilent(locks.silent()));
        } else {
            message.setChecked(
                    ControlProto.Checked.newBuilder().putAllCounters(((ControlReply.Checked) reply).counters()));
        }
        return frame(message.build());
    }

    static byte[] encode(ControlEvent event) {
        ControlProto.Event.Builder builder = ControlProto.Event.newBuilder()
                .setTimeMillis(event.timeMillis())
                .setLevel(event.level())
                .setName(event.name());
        event.fields()
                .forEach((key, value) -> builder.addFields(
                        ControlProto.Field.newBuilder().setKey(key).setValue(value)));
        return frame(FromNode.newBuilder().setEvent(builder).build());
    }

    static Message decodeMessage(byte[] body) throws ControlException {
        FromNode message;
        try {
            message = FromNode.parseFrom(body);
        } catch (InvalidProtocolBufferException e) {
            throw malformed();
        }
        if (message.hasEvent()) {
            return new Event(fromProto(message.getEvent()));
        }
        ControlReply reply = switch (message.getMessageCase()) {
            case WELCOME ->
                new ControlReply.Welcome(
                        message.getWelcome().getVersion(),
                        message.getWelcome().getNodeVersion(),
                        message.getWelcome().getPid(),
                        message.getWelcome().getTree());
            case DONE -> new ControlReply.Done();
            case FAILED ->
                new ControlReply.Failed(
                        message.getFailed().getExitCode(),
                        message.getFailed().getTried(),
                        message.getFailed().getFound(),
                        message.getFailed().getRemedy());
            case STATUS ->
                new ControlReply.Status(
                        message.getStatus().getNodeVersion(),
                        message.getStatus().getPid(),
                        message.getStatus().getStartedMillis(),
                        message.getStatus().getTree(),
                        message.getStatus().getPrincipal(),
                        message.getStatus().getDataDirectory(),
                        message.getStatus().getState(),
                        message.getStatus().getMountsList().stream()
                                .map(ControlCodec::fromProto)
                                .toList(),
                        message.getStatus().getCountersMap(),
                        message.getStatus().getLatencyUpperNanosList(),
                        message.getStatus().getLatenciesList().stream()
                                .map(latency -> new ControlReply.Latency(
                                        latency.getName(),
                                        latency.getFailures(),
                                        latency.getTotalNanos(),
                                        latency.getCountsList()))
                                .toList());
            case SNAPSHOTS ->
                new ControlReply.Snapshots(message.getSnapshots().getSnapshotsList().stream()
                        .map(snapshot -> new ControlReply.Snapshot(
                                snapshot.getName(), snapshot.getId(), snapshot.getTimeMillis(), snapshot.getPosition()))
                        .toList());
            case KEY ->
                new ControlReply.Key(
                        message.getKey().getTree(),
                        message.getKey().getPrincipal(),
                        message.getKey().getProtection());
            case CHECKED -> new ControlReply.Checked(message.getChecked().getCountersMap());
            case PROGRESS ->
                new ControlReply.Progress(
                        message.getProgress().getPhase(),
                        message.getProgress().getDone(),
                        message.getProgress().getTotal());
            case FINDING ->
                new ControlReply.Finding(
                        message.getFinding().getSeverity(),
                        message.getFinding().getKind(),
                        message.getFinding().getSubject(),
                        message.getFinding().getDetail(),
                        message.getFinding().getRepaired());
            case INVITED ->
                new ControlReply.Invited(
                        message.getInvited().getInvitation(),
                        message.getInvited().getCode(),
                        message.getInvited().getExpiresMillis());
            case JOIN_ASKED ->
                new ControlReply.JoinAsked(
                        message.getJoinAsked().getInvitation(),
                        message.getJoinAsked().getKeys(),
                        message.getJoinAsked().getName());
            case NODES ->
                new ControlReply.Nodes(message.getNodes().getNodesList().stream()
                        .map(ControlCodec::fromProto)
                        .toList());
            case LOCKS ->
                new ControlReply.Locks(
                        message.getLocks().getLocksList().stream()
                                .map(ControlCodec::fromProto)
                                .toList(),
                        message.getLocks().getSilentList());
            case EVENT, MESSAGE_NOT_SET -> throw malformed();
        };
        return new Reply(message.getId(), reply);
    }

    private static ControlEvent fromProto(ControlProto.Event event) {
        Map<String, String> fields = new LinkedHashMap<>();
        event.getFieldsList().forEach(field -> fields.put(field.getKey(), field.getValue()));
        return new ControlEvent(event.getTimeMillis(), event.getLevel(), event.getName(), fields);
    }

    private static ControlProto.Mount toProto(ControlMount mount) {
        return ControlProto.Mount.newBuilder()
                .setMountPoint(mount.mountPoint())
                .setReadOnly(mount.readOnly())
                .setAllowOther(mount.allowOther())
                .setSubtree(mount.subtree())
                .setShowSnapshots(mount.showSnapshots())
                .setSetUserId(mount.setUserId())
                .setDevices(mount.devices())
                .setNoExec(mount.noExec())
                .setWriteBackCache(mount.writeBackCache())
                .setAccessLists(mount.accessLists())
                .setLibrary(mount.library())
                .build();
    }

    private static ControlMount fromProto(ControlProto.Mount mount) {
        return new ControlMount(
                mount.getMountPoint(),
                mount.getReadOnly(),
                mount.getAllowOther(),
                mount.getSubtree(),
                mount.getShowSnapshots(),
                mount.getSetUserId(),
                mount.getDevices(),
                mount.getNoExec(),
                mount.getWriteBackCache(),
                mount.getAccessLists(),
                mount.getLibrary());
    }

    private static ControlProto.NodeState toProto(ControlReply.NodeState node) {
        return ControlProto.NodeState.newBuilder()
                .setPrincipal(node.principal())
                .setName(node.name())
                .addAllAddresses(node.addresses())
                .setSelf(node.self())
                .setVoter(node.voter())
                .setLeader(node.leader())
                .setConnected(node.connected())
                .setRttNanos(node.rttNanos())
                .setClockDifferenceMillis(node.clockDifferenceMillis())
                .setLag(node.lag())
                .setSoftware(node.software())
                .setBlind(!node.trusted())
                .setPosition(node.position())
                .build();
    }

    private static ControlReply.NodeState fromProto(ControlProto.NodeState node) {
        return new ControlReply.NodeState(
                node.getPrincipal(),
                node.getName(),
                node.getAddressesList(),
                node.getSelf(),
                node.getVoter(),
                node.getLeader(),
                node.getConnected(),
                node.getRttNanos(),
                node.getClockDifferenceMillis(),
                node.getLag(),
                node.getSoftware(),
                !node.getBlind(),
                node.getPosition());
    }

    private static ControlProto.FileLock toProto(ControlReply.FileLock lock) {
        return ControlProto.FileLock.newBuilder()
                .setInode(lock.inode())
                .setKind(lock.kind())
                .setStart(lock.start())
                .setEnd(lock.end())
                .setExclusive(lock.exclusive())
                .setNode(lock.node())
                .setName(lock.name())
                .setPid(lock.pid())
                .setSinceMillis(lock.sinceMillis())
                .build();
    }

    private static ControlReply.FileLock fromProto(ControlProto.FileLock lock) {
        return new ControlReply.FileLock(
                lock.getInode(),
                lock.getKind(),
                lock.getStart(),
                lock.getEnd(),
                lock.getExclusive(),
                lock.getNode(),
                lock.getName(),
                lock.getPid(),
                lock.getSinceMillis());
    }

    /** Length and message. */
    private static byte[] frame(MessageLite message) {
        int size = message.getSerializedSize();
        if (size > FrameDecoder.FRAME_SIZE_BYTES_MAX) {
            throw new IllegalArgumentException("message of " + size + " bytes does not fit into a frame");
        }
        byte[] frame = new byte[CodedOutputStream.computeUInt32SizeNoTag(size) + size];
        CodedOutputStream out = CodedOutputStream.newInstance(frame);
        try {
            out.writeUInt32NoTag(size);
            message.writeTo(out);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return frame;
    }

    private static ControlException malformed() {
        return new ControlException(ControlException.Code.PROTOCOL, "not a message of the control protocol");
    }
}
