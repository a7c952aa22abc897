package blocktree.btmsg;

import com.code_intelligence.jazzer.junit.FuzzTest;
import java.nio.ByteBuffer;

/** Any bytes from the other side end in messages or in a {@link ControlException}, on either side of the connection. */
class ControlFuzzTest {

    @FuzzTest
    void node(byte[] stream) {
        FrameDecoder decoder = new FrameDecoder();
        ByteBuffer bytes = ByteBuffer.wrap(stream);
        try {
            byte[] frame;
            while ((frame = decoder.next(bytes)) != null) {
                ControlCodec.Request decoded = ControlCodec.decodeRequest(frame);
                byte[] again = ControlCodecTest.body(ControlCodec.encode(decoded.id(), decoded.request()));
                if (!ControlCodec.decodeRequest(again).equals(decoded)) {
                    throw new AssertionError("changed by encoding: " + decoded);
                }
            }
        } catch (ControlException e) {
            // refused, as it should be
        }
    }

    @FuzzTest
    void client(byte[] stream) {
        FrameDecoder decoder = new FrameDecoder();
        ByteBuffer bytes = ByteBuffer.wrap(stream);
        try {
            byte[] frame;
            while ((frame = decoder.next(bytes)) != null) {
                ControlCodec.decodeMessage(frame);
            }
        } catch (ControlException e) {
            // refused, as it should be
        }
    }
}
