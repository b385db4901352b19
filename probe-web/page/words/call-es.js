// Spanish: what a running call's reasons are called. A sentence, and what to do.

export default {
  reasons: {
    loss_up: ['Cerca del {percent} % de lo que envía se pierde por el camino.', 'Use un cable o acérquese al router wifi.'],
    loss_down: ['Cerca del {percent} % de lo que recibe se pierde por el camino.', 'Use un cable o acérquese al router wifi.'],
    late_loss_down: ['Cerca del {percent} % del sonido le llega demasiado tarde para oírse.', 'Use un cable y detenga las descargas en su red.'],
    buffer_delay_down: ['El sonido espera hasta {ms} ms antes de oírse, porque llega de forma irregular.', 'Use un cable y detenga las descargas en su red.'],
    rtt_high: ['Las respuestas tardan hasta {ms} ms; así la gente se pisa al hablar.', 'Apague la VPN o use un servidor más cercano.'],
    connection_lost: ['La conexión se cortó.', 'Acérquese al router wifi, use un cable o pruebe otra red.'],
    bandwidth_limited: ['Su conexión da menos de lo que su imagen necesita.', 'Detenga las subidas en su red o envíe una imagen más pequeña.'],
    bitrate_capped: ['La aplicación deja a su imagen menos de lo que necesita.', 'Elija una calidad de vídeo mayor en la aplicación.'],
    cpu_limited: ['Este equipo está demasiado ocupado para enviar su imagen completa.', 'Cierre otros programas o apague los efectos de fondo.'],
    video_frozen: ['La imagen que ve se detenía una y otra vez.', 'Detenga las descargas en su red y cierre otros programas.'],
    frame_rate_low_down: ['La imagen que ve va a saltos: {fps} imágenes por segundo.', 'Cierre otros programas. Si sigue así, el otro lado envía tan pocas.'],
    frame_rate_low_up: ['Los demás ven su imagen a saltos: {fps} imágenes por segundo, y su cámara da más.', 'Cierre otros programas.'],
    audio_not_received: ['No llega sonido del otro lado.', 'Quizá esté silenciado allí: pregunte o escríbales.'],
    relayed: ['La llamada pasa por un repetidor.', null],
    path_changed: ['La llamada pasó a otro camino.', null],
    mic_muted_in_software: ['Su micrófono está silenciado.', 'Quite el silencio si quiere que le oigan.'],
    mic_muted_in_hardware: ['Su micrófono no oye nada, ni siquiera la habitación.', 'Enciéndalo en el aparato o en el cable, o elija otro.'],
    mic_clipping: ['Su micrófono está demasiado alto: el sonido se distorsiona.', 'Baje el micrófono o aléjese de él.'],
    page_hidden: ['La página estaba en segundo plano, así que no se juzgó la conexión.', null],
    page_stalled: ['La página se detuvo hasta {ms} ms, así que no se juzgó la conexión.', 'Cierre otros programas y pestañas.'],
  },
  well: ['La llamada fue bien.', null],
  unsure: ['Se vio demasiado poco de la llamada para juzgarla.', 'Mantenga la página delante mientras habla.'],
};
