// English: what a running call's reasons are called. A sentence, and what to do.

export default {
  reasons: {
    loss_up: ['About {percent} % of what you send is lost on the way.', 'Use a cable, or move closer to your Wi-Fi router.'],
    loss_down: ['About {percent} % of what is sent to you is lost on the way.', 'Use a cable, or move closer to your Wi-Fi router.'],
    late_loss_down: ['About {percent} % of the sound for you comes too late to be played.', 'Use a cable, and stop downloads on your network.'],
    buffer_delay_down: ['Sound waits up to {ms} ms before you hear it, because it arrives unevenly.', 'Use a cable, and stop downloads on your network.'],
    rtt_high: ['Answers take up to {ms} ms, so people talk over each other.', 'Turn off a VPN, or use a server that is closer.'],
    connection_lost: ['The connection broke off.', 'Move closer to your Wi-Fi router, use a cable, or try another network.'],
    bandwidth_limited: ['Your connection carries less than your picture needs.', 'Stop uploads on your network, or send a smaller picture.'],
    bitrate_capped: ['The application lets your picture use less than it needs.', 'Choose a higher video quality in the application.'],
    cpu_limited: ['This computer is too busy to send your picture in full.', 'Close other programs, or turn off background effects.'],
    video_frozen: ['The picture that you see stopped again and again.', 'Stop downloads on your network, and close other programs.'],
    frame_rate_low_down: ['The picture that you see jerks: {fps} pictures per second.', 'Close other programs. If it stays, the other side sends so few.'],
    frame_rate_low_up: ['Your picture jerks for others: {fps} pictures per second, and your camera gives more.', 'Close other programs.'],
    audio_not_received: ['No sound comes from the other side.', 'Perhaps it is muted there: ask, or write to them.'],
    relayed: ['The call goes by way of a relay.', null],
    path_changed: ['The call moved to another path.', null],
    mic_muted_in_software: ['Your microphone is muted.', 'Unmute it, if you want to be heard.'],
    mic_muted_in_hardware: ['Your microphone hears nothing at all, not even the room.', 'Switch it on, on itself or on its cable, or choose another one.'],
    mic_clipping: ['Your microphone is too loud: the sound is distorted.', 'Turn the microphone down, or move away from it.'],
    page_hidden: ['The page was in the background, so the connection was not judged.', null],
    page_stalled: ['The page was held up for up to {ms} ms, so the connection was not judged.', 'Close other programs and tabs.'],
  },
  well: ['The call went well.', null],
  unsure: ['There was too little of the call to judge it.', 'Keep the page in front while you talk.'],
};
