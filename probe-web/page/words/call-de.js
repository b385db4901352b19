// German: what a running call's reasons are called. A sentence, and what to do.

export default {
  reasons: {
    loss_up: ['Etwa {percent} % von dem, was Sie senden, geht unterwegs verloren.', 'Nehmen Sie ein Kabel oder gehen Sie näher an Ihren WLAN-Router.'],
    loss_down: ['Etwa {percent} % von dem, was zu Ihnen kommt, geht unterwegs verloren.', 'Nehmen Sie ein Kabel oder gehen Sie näher an Ihren WLAN-Router.'],
    late_loss_down: ['Etwa {percent} % des Tons kommt zu spät bei Ihnen an, um gespielt zu werden.', 'Nehmen Sie ein Kabel und beenden Sie Downloads in Ihrem Netz.'],
    buffer_delay_down: ['Ton wartet bis zu {ms} ms, bis Sie ihn hören, weil er ungleichmäßig ankommt.', 'Nehmen Sie ein Kabel und beenden Sie Downloads in Ihrem Netz.'],
    rtt_high: ['Antworten brauchen bis zu {ms} ms; man fällt sich dadurch ins Wort.', 'Schalten Sie ein VPN aus oder nehmen Sie einen näheren Server.'],
    connection_lost: ['Die Verbindung ist abgebrochen.', 'Gehen Sie näher an Ihren WLAN-Router, nehmen Sie ein Kabel oder ein anderes Netz.'],
    bandwidth_limited: ['Ihre Verbindung trägt weniger, als Ihr Bild braucht.', 'Beenden Sie Uploads in Ihrem Netz oder senden Sie ein kleineres Bild.'],
    bitrate_capped: ['Die Anwendung lässt Ihrem Bild weniger, als es braucht.', 'Wählen Sie in der Anwendung eine höhere Bildqualität.'],
    cpu_limited: ['Dieser Computer ist zu beschäftigt, um Ihr Bild ganz zu senden.', 'Schließen Sie andere Programme oder schalten Sie Hintergrundeffekte aus.'],
    video_frozen: ['Das Bild, das Sie sehen, blieb immer wieder stehen.', 'Beenden Sie Downloads in Ihrem Netz und schließen Sie andere Programme.'],
    frame_rate_low_down: ['Das Bild, das Sie sehen, ruckelt: {fps} Bilder pro Sekunde.', 'Schließen Sie andere Programme. Bleibt es so, sendet die andere Seite so wenige.'],
    frame_rate_low_up: ['Ihr Bild ruckelt bei anderen: {fps} Bilder pro Sekunde, und Ihre Kamera gibt mehr.', 'Schließen Sie andere Programme.'],
    audio_not_received: ['Von der anderen Seite kommt kein Ton.', 'Vielleicht ist sie stumm geschaltet: Fragen Sie nach oder schreiben Sie ihr.'],
    relayed: ['Das Gespräch läuft über ein Relais.', null],
    path_changed: ['Das Gespräch ist auf einen anderen Weg gewechselt.', null],
    mic_muted_in_software: ['Ihr Mikrofon ist stumm geschaltet.', 'Heben Sie die Stummschaltung auf, wenn man Sie hören soll.'],
    mic_muted_in_hardware: ['Ihr Mikrofon hört gar nichts, nicht einmal den Raum.', 'Schalten Sie es am Gerät oder am Kabel ein, oder nehmen Sie ein anderes.'],
    mic_clipping: ['Ihr Mikrofon ist zu laut: Der Ton wird verzerrt.', 'Stellen Sie das Mikrofon leiser oder gehen Sie weiter weg.'],
    page_hidden: ['Die Seite war im Hintergrund, darum wurde die Verbindung nicht beurteilt.', null],
    page_stalled: ['Die Seite hing bis zu {ms} ms, darum wurde die Verbindung nicht beurteilt.', 'Schließen Sie andere Programme und Tabs.'],
  },
  well: ['Das Gespräch lief gut.', null],
  unsure: ['Vom Gespräch war zu wenig zu sehen, um es zu beurteilen.', 'Lassen Sie die Seite im Vordergrund, während Sie sprechen.'],
};
