package blocktree.cluster.raft;

import com.google.protobuf.ByteString;
import com.google.protobuf.UnsafeByteOperations;

/** The engine has its own copy of protobuf: its bytes as ours and back, without copying. */
final class Bytes {

    private Bytes() {}

    static ByteString ours(org.apache.ratis.thirdparty.com.google.protobuf.ByteString bytes) {
        return UnsafeByteOperations.unsafeWrap(bytes.asReadOnlyByteBuffer());
    }

    static org.apache.ratis.thirdparty.com.google.protobuf.ByteString engines(ByteString bytes) {
        return org.apache.ratis.thirdparty.com.google.protobuf.UnsafeByteOperations.unsafeWrap(
                bytes.asReadOnlyByteBuffer());
    }
}
