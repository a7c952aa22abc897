package blocktree.btmsg;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.CodedOutputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class FrameDecoderTest {
    private final FrameDecoder decoder = new FrameDecoder();

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 3, 7, 4096, Integer.MAX_VALUE})
    void cutsFramesHoweverTheStreamIsSplit(int chunkSize) throws IOException {
        List<byte[]> frames = new ArrayList<>();
        Random random = new Random(7);
        for (int size : new int[] {0, 1, 127, 128, 16_383, 16_384, 70_000, 0}) {
            byte[] frame = new byte[size];
            random.nextBytes(frame);
            frames.add(frame);
        }
        byte[] stream = stream(frames);

        List<byte[]> decoded = new ArrayList<>();
        for (int from = 0; from < stream.length; ) {
            int count = Math.min(chunkSize, stream.length - from);
            ByteBuffer chunk = ByteBuffer.wrap(stream, from, count);
            byte[] frame;
            while ((frame = decoder.next(chunk)) != null) {
                decoded.add(frame);
            }
            from += count;
        }

        assertEquals(frames.size(), decoded.size());
        for (int i = 0; i < frames.size(); i++) {
            assertArrayEquals(frames.get(i), decoded.get(i));
        }
        assertTrue(decoder.isBetweenFrames());
    }

    @Test
    void takesTheLargestFrameAndRefusesOneByteMore() throws IOException {
        byte[] largest = new byte[FrameDecoder.FRAME_SIZE_BYTES_MAX];
        byte[] frame = decoder.next(ByteBuffer.wrap(stream(List.of(largest))));
        assertNotNull(frame);
        assertEquals(largest.length, frame.length);

        byte[] tooLarge = stream(List.of(new byte[FrameDecoder.FRAME_SIZE_BYTES_MAX + 1]));
        ControlException e = assertThrows(ControlException.class, () -> decoder.next(ByteBuffer.wrap(tooLarge)));
        assertEquals(ControlException.Code.PROTOCOL, e.code());
    }

    @Test
    void refusesALengthThatDoesNotEnd() {
        byte[] endless = {(byte) 0x80, (byte) 0x80, (byte) 0x80, (byte) 0x80, 0};
        assertThrows(ControlException.class, () -> decoder.next(ByteBuffer.wrap(endless)));
    }

    @Test
    void doesNotAllocateWhatALengthOnlyPromises() throws IOException {
        // 2,000 decoders that were each promised 4 MiB: 8 GiB, if they believed it.
        List<FrameDecoder> decoders = new ArrayList<>();
        byte[] start = {(byte) 0x80, (byte) 0x80, (byte) 0x80, 0x02, 1, 2, 3};
        for (int i = 0; i < 2000; i++) {
            FrameDecoder one = new FrameDecoder();
            assertNull(one.next(ByteBuffer.wrap(start)));
            assertFalse(one.isBetweenFrames());
            decoders.add(one);
        }
        assertEquals(2000, decoders.size());
    }

    private static byte[] stream(List<byte[]> frames) throws IOException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        CodedOutputStream out = CodedOutputStream.newInstance(bytes);
        for (byte[] frame : frames) {
            out.writeUInt32NoTag(frame.length);
            out.writeRawBytes(frame);
        }
        out.flush();
        return bytes.toByteArray();
    }
}
