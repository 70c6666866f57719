// The notice window. Written for the browsers of the last ten years, without a framework; every
// text from outside becomes a text node.
(function () {
  'use strict';
  var list = document.getElementById('notices');
  var none = document.getElementById('none');
  var state = document.getElementById('state');
  var quiet = document.getElementById('quiet');
  var alerts = document.getElementById('alerts');
  var say = function (key) { return list.getAttribute('data-' + key) || ''; };
  var rows = {};
  var title = document.title;
  var unseen = 0;

  // The code was good once; it is not left in the address.
  if (location.search && history.replaceState) history.replaceState(null, '', '/workstation/');

  function element(name, text, type) {
    var made = document.createElement(name);
    if (text) made.appendChild(document.createTextNode(text));
    if (type) made.className = type;
    return made;
  }

  function row(notice) {
    var made = element('li', '', notice.acknowledged ? 'seen' : 'new');
    var time = new Date(notice.at);
    var pad = function (n) { return (n < 10 ? '0' : '') + n; };
    made.appendChild(element('span', pad(time.getHours()) + ':' + pad(time.getMinutes()), 'time'));
    made.appendChild(element('strong', notice.patient));
    var words = notice.studies + ' ' + say('opened') + ' · ' + say('here') + ' ' + notice.here;
    made.appendChild(element('span', words));
    if (notice.same) made.appendChild(element('em', say('same') + ' × ' + notice.same));
    if (!notice.precise) made.appendChild(element('span', say('list'), 'list'));
    if (notice.newest) made.appendChild(element('span', notice.newest, 'newest'));
    var look = element('a', say('look'));
    look.href = '/workstation/patient/' + notice.id;
    made.appendChild(look);
    if (!notice.acknowledged) {
      var seen = element('button', say('seen'));
      seen.type = 'button';
      seen.onclick = function () { acknowledge(notice, made); };
      made.appendChild(seen);
    }
    return made;
  }

  function acknowledge(notice, made) {
    var request = new XMLHttpRequest();
    request.open('POST', '/workstation/acknowledge/' + notice.id);
    request.onload = function () {
      notice.acknowledged = true;
      put(notice);
      count(-1);
    };
    request.send();
  }

  function count(change) {
    unseen = Math.max(0, unseen + change);
    document.title = unseen ? '(' + unseen + ') ' + title : title;
  }

  function put(notice) {
    var made = row(notice);
    var before = rows[notice.id];
    if (before) list.replaceChild(made, before);
    else list.insertBefore(made, list.firstChild);
    rows[notice.id] = made;
    none.hidden = true;
    return !before;
  }

  function sound() {
    var Context = window.AudioContext || window.webkitAudioContext;
    if (!Context) return;
    try {
      var context = new Context();
      var tone = context.createOscillator();
      tone.frequency.value = 880;
      tone.connect(context.destination);
      tone.start();
      tone.stop(context.currentTime + 0.15);
    } catch (ignored) { /* A browser without sound, or one that wants a click first. */ }
  }

  function alert(notice) {
    if (quiet.checked || !notice.precise) return;
    var words = notice.studies + ' ' + say('opened');
    var may = window.isSecureContext && window.Notification &&
      Notification.permission === 'granted';
    if (may) new Notification(notice.patient, { body: words, tag: 'forepost-' + notice.id });
    else sound();
    window.focus();
  }

  if (window.isSecureContext && window.Notification && Notification.permission === 'default') {
    alerts.hidden = false;
    alerts.onclick = function () {
      Notification.requestPermission(function () { alerts.hidden = true; });
    };
  }

  var source = new EventSource('/workstation/events');
  source.onopen = function () {
    state.textContent = say('live');
    state.className = 'live';
  };
  source.onerror = function () {
    state.textContent = say('lost');
    state.className = 'lost';
    // A browser gives up on an answer that is no stream: the session has ended, or none is free.
    if (source.readyState === 2) location.reload();
  };
  source.addEventListener('notice', function (event) {
    var notice = JSON.parse(event.data);
    var known = rows[notice.id];
    put(notice);
    if (!known && !notice.acknowledged) {
      count(1);
      alert(notice);
    }
  });
  source.addEventListener('ended', function () {
    source.close();
    // Nothing of a patient stays on the screen.
    document.body.textContent = say('ended');
    document.title = title;
  });
})();
