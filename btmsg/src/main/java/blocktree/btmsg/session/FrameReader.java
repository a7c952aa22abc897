package blocktree.btmsg.session;

import blocktree.btmsg.session.SessionProto.Frame;
import com.google.protobuf.ByteString;
import com.google.protobuf.CodedInputStream;
import com.google.protobuf.CodedOutputStream;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.UnsafeByteOperations;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.ByteBufAllocator;
import io.netty.channel.ChannelHandlerContext;
import io.netty.handler.codec.ByteToMessageDecoder;
import java.io.IOException;
import java.util.List;

/**
 * Cuts what arrives into frames: a varint length of at most four bytes, then that many bytes of protobuf. Memory grows with what has
 * arrived, not with what a length promises. Throws {@link ProtocolViolation}.
 */
final class FrameReader extends ByteToMessageDecoder {
    static final int FRAME_SIZE_BYTES_MAX = 1 << 20;
    static final int GREETING_SIZE_BYTES_MAX = 64 << 10;
    private static final int LENGTH_SIZE_BYTES_MAX = 4;

    /** Of what is said to people: reasons, names of software, paths. */
    static final int TEXT_CHARS_MAX = 1000;

    private int sizeBytesMax = GREETING_SIZE_BYTES_MAX;

    /** From now on frames may have their full size. */
    void greeted() {
        sizeBytesMax = FRAME_SIZE_BYTES_MAX;
    }

    @Override
    protected void decode(ChannelHandlerContext context, ByteBuf in, List<Object> out) throws ProtocolViolation {
        int start = in.readerIndex();
        int length = 0;
        for (int i = 0; ; i++) {
            if (i == LENGTH_SIZE_BYTES_MAX) {
                throw new ProtocolViolation("frame length of more than " + LENGTH_SIZE_BYTES_MAX + " bytes");
            }
            if (!in.isReadable()) {
                in.readerIndex(start);
                return;
            }
            byte next = in.readByte();
            length |= (next & 0x7f) << 7 * i;
            if (next >= 0) {
                break;
            }
        }
        if (length > sizeBytesMax) {
            throw new ProtocolViolation("frame of " + length + " bytes, more than " + sizeBytesMax);
        }
        if (in.readableBytes() < length) {
            in.readerIndex(start);
            return;
        }
        byte[] frame = new byte[length];
        in.readBytes(frame);
        out.add(parse(frame));
    }

    static Frame parse(byte[] bytes) throws ProtocolViolation {
        try {
            CodedInputStream input = UnsafeByteOperations.unsafeWrap(bytes).newCodedInput();
            input.enableAliasing(true);
            Frame frame = Frame.parseFrom(input);
            input.checkLastTagWas(0);
            if (frame.getKindCase() == Frame.KindCase.KIND_NOT_SET) {
                throw new ProtocolViolation("frame of no known kind");
            }
            return frame;
        } catch (InvalidProtocolBufferException e) {
            throw new ProtocolViolation("not a frame: " + e.getMessage());
        } catch (IOException e) {
            throw new IllegalStateException("no input to fail", e);
        }
    }

    /** Length and bytes; the caller owns the buffer. */
    static ByteBuf encode(ByteBufAllocator allocator, Frame frame) {
        int sizeBytes = frame.getSerializedSize();
        int headBytes = CodedOutputStream.computeUInt32SizeNoTag(sizeBytes);
        ByteBuf buffer = allocator.buffer(headBytes + sizeBytes);
        try {
            CodedOutputStream output =
                    CodedOutputStream.newInstance(buffer.internalNioBuffer(0, headBytes + sizeBytes));
            output.writeUInt32NoTag(sizeBytes);
            frame.writeTo(output);
            output.flush();
            return buffer.writerIndex(headBytes + sizeBytes);
        } catch (IOException e) {
            buffer.release();
            throw new IllegalStateException("a frame was not written", e);
        }
    }

    static String cut(String text) {
        return text.substring(0, Math.min(text.length(), TEXT_CHARS_MAX));
    }

    static ByteString wrap(byte[] body) {
        return UnsafeByteOperations.unsafeWrap(body);
    }
}
